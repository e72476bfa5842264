"""From a trained model to an artifact directory: capture, compact, compress, build, verify, write."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from edge.handover.manifest import Manifest
from edge.network import Network, select_trainable, write_network
from edge.plan.choices import OptimizerChoice
from edge.spelling import named
from edge.weight.parameter import Parameter
from export.capture import Captured, capture
from export.checks.agreement import DisagreementError, Expected, attempts, compare, make_batch
from export.checks.observe import Batch, Observed, native_missing, observe_native, observe_ort, observe_reference
from export.checks.verify import expect
from export.compress.channels import compact
from export.compress.formats import ROOM, compress, slots, with_compressed
from export.compress.sizes import LayerSize, layer_size
from export.contents import CONTENTS
from export.directory import check_writable, whole_directory
from export.graph import shapes, tensors
from export.inference import refuse_too_large, write_inference
from export.kept import Kept
from export.lower import describe, lower
from export.manifest import Facts, write_facts
from export.options import RECOMPUTE, Options
from export.ort.artifacts import write_artifacts
from export.ort.files import CHECKPOINT, EVALUATION, OPTIMIZER, TRAINING, missing
from export.ort.memory import live_memory, training_memory
from export.ort.represent import OrtFiles, Represented, represent
from export.ort.session import Session
from export.source import Source
from mest.errors import InputError


@dataclass(frozen=True, eq=False)
class Built:
    """The network in every form that is written, before it is. `native_reason`: why our own engines cannot run it."""

    captured: Captured
    forward: onnx.ModelProto
    kept: dict[str, Kept]
    compressed: dict[str, Parameter]
    network: Network
    trained: tuple[str, ...]
    frozen: tuple[str, ...]
    native_reason: str | None = None


def build(source: Source, captured: Captured, options: Options) -> Built:
    """Decide the form of every layer of a captured model. Raises InputError for what cannot be exported."""
    forward = onnx.ModelProto.FromString(captured.model.SerializeToString())
    _apply_masks(forward, source)
    layers = {name: layer for name, layer in source.layers.items() if name not in captured.unread}
    channels = {name: layer for name, layer in layers.items() if layer.scheme == "channel"}
    kept = compact(forward, channels if options.format in ("auto", "channel") else {})
    compressed = compress(forward, layers, kept, options.format)
    native_reason, fixed = None, (*captured.statistics, *captured.still)
    try:
        plain = lower(forward, captured.trainable, fixed)
    except InputError:
        plain, native_reason = describe(forward, captured.trainable, fixed)
    network = replace(with_compressed(plain, compressed), task=source.task)
    chosen = select_trainable(network, options.trainable)
    trained = tuple(name for name in captured.parameters if name in chosen)
    network = network.with_parameters(
        {name: replace(parameter, trainable=name in chosen) for name, parameter in network.parameters.items()}
    )
    frozen = tuple(name for name in captured.parameters if name not in trained)
    return Built(captured, forward, kept, compressed, network, trained, (*captured.statistics, *frozen), native_reason)


def export_artifact(
    source: Source,
    out: Path,
    options: Options,
    say: Callable[[str], None] = lambda message: None,
    overwrite: bool = False,
) -> Manifest:
    """Write the artifact directory, durably and whole, and return its manifest; with `overwrite` in the place of one.

    Raises InputError for a model or options that cannot be exported, DisagreementError where an engine's result differs
    from PyTorch's; nothing is written then.
    """
    check_writable(out, overwrite)
    refuse_too_large(source)
    room = _room(source, options.room)
    if options.recompute not in RECOMPUTE:
        raise InputError(f"{named('recompute')} {options.recompute}: allowed are {', '.join(RECOMPUTE)}")
    if options.contents not in CONTENTS:
        raise InputError(f"{named('contents')} {options.contents}: allowed are {', '.join(CONTENTS)}")
    if options.external_data and options.contents != "all":
        raise InputError(
            f"{named('external_data')} is of inference.onnx, which {named('contents')} "
            f"{options.contents} leaves out; give one"
        )
    optimizer = options.optimizer or source.optimizer
    smoothing = source.label_smoothing if options.label_smoothing is None else options.label_smoothing
    for note in source.notes if room != "none" else ():
        say(note)
    say("capturing the model")
    captured = capture(source.model, source.input, source.layers)
    if captured.unread:
        say(f"left out, for forward never uses it: {', '.join(sorted(captured.unread))}")
    built = build(source, captured, options)
    with whole_directory(out, overwrite) as folder:
        say("writing the graphs")
        write_inference(built.forward, source, folder, options.external_data)
        files = write_ort(built, optimizer, smoothing, room, folder, options.recompute)
        if built.native_reason is not None and files.reason is not None:
            raise InputError(
                f"{built.native_reason}; and onnxruntime-training cannot train it: {files.reason}; replace that "
                "operation by what docs/network-format.md lists"
            )
        if options.recompute != "none" and files.reason is not None:
            raise InputError(
                f"{named('recompute')} {options.recompute} is of onnxruntime-training's graph: {files.reason}"
            )
        write_network(built.network, folder)
        say("comparing the engines with PyTorch")
        expected, observed, agreement = judge(
            built, source, options.format, files.represented, optimizer, smoothing, folder
        )
        memory = None
        if files.reason is None:
            memory = training_memory(folder, source.input, say) if options.measure else live_memory(folder)
        facts = Facts(
            source=source,
            options=replace(options, room=room),
            optimizer=optimizer,
            label_smoothing=smoothing,
            network=built.network,
            layers=_sizes(built, source),
            ort=files,
            native_reason=built.native_reason,
            ort_memory=memory,
            kept=built.kept,
            expected=expected,
            observed=observed,
            agreement=agreement,
        )
        return write_facts(facts, folder)


def _room(source: Source, asked: str | None) -> str:
    """The mutation that a board may do; raises InputError for one that would break the shape of a layer's zeros."""
    if asked not in (None, *ROOM):
        raise InputError(f"{named('mutate')} {asked}: allowed are {', '.join(ROOM)}")
    own = next((layer for layer in source.layers.values() if layer.own), None)
    if own is not None and asked not in (None, "none"):
        raise InputError(
            f"{named('mutate')} {asked}: {own.name} has scheme {own.own}, which no board knows: zeros "
            f"that move there would "
            f"lose its shape; leave {named('mutate')} out, and they stay where they are"
        )
    return asked or ("em" if own is None else "none")


def _apply_masks(model: onnx.ModelProto, source: Source) -> None:
    """Make zeros exact: a checkpoint that was touched by hand may hold weights outside its masks."""
    stored = tensors(model.graph)
    for tensor in model.graph.initializer:
        if tensor.name in source.layers:
            masked = stored[tensor.name] * source.layers[tensor.name].mask
            tensor.CopyFrom(onnx.numpy_helper.from_array(masked.astype(np.float32), tensor.name))


def write_ort(
    built: Built, optimizer: OptimizerChoice, smoothing: float, room: str, folder: Path, recompute: str = "none"
) -> OrtFiles:
    """Write the onnxruntime-training files, where they can be had, and say what they hold."""
    reason = missing()
    if reason is not None:
        return OrtFiles(None, reason)
    model = onnx.ModelProto.FromString(built.forward.SerializeToString())
    room_of = {name: slots(parameter, room) for name, parameter in built.compressed.items()}
    represented = represent(model, built.compressed, room_of)
    indices = [name for written in represented.values() for name in written.tensors.values()]
    names = {name: written.values for name, written in represented.items()}
    trained = [names.get(name, name) for name in built.trained]
    frozen = [*(names.get(name, name) for name in built.frozen), *indices]
    ends = {operator.name for operator in built.network.operators}
    try:
        blocks = write_artifacts(
            model, trained, frozen, optimizer, smoothing, folder, recompute, ends, built.network.task
        )
    except InputError as refused:
        return OrtFiles(None, str(refused))
    if reason := _unfit_to_run(built, optimizer, folder):
        for name in (TRAINING, EVALUATION, OPTIMIZER, CHECKPOINT):
            (folder / name).unlink(missing_ok=True)
        return OrtFiles(None, reason)
    return OrtFiles(represented, None, blocks)


def _unfit_to_run(built: Built, optimizer: OptimizerChoice, folder: Path) -> str | None:
    """Why onnxruntime-training cannot take a step with the files that it has built, or None if it can."""
    _, *input = shapes(built.forward)[built.forward.graph.input[0].name]
    batch = make_batch(
        tuple(int(size or 0) for size in input), built.network.classes, optimizer.kind, task=built.network.task
    )
    try:
        session = Session(folder)
        session.evaluate(batch.images, batch.labels)
        session.gradients(batch.images, batch.labels)
    except Exception as failed:  # the library's exceptions share no base but this
        reason = str(failed).strip().splitlines()[0]
        place = re.search(r"running (\w+) node\. Name:'([^']*)'", reason)
        where = f"operator {place[1]} at {place[2]}" if place else "the training graph"
        return f"{where} fails while it runs in onnxruntime-training ({reason.rpartition('Status Message: ')[2][:160]})"
    return None


def judge(
    built: Built,
    source: Source,
    format: str,
    represented: dict[str, Represented] | None,
    optimizer: OptimizerChoice,
    smoothing: float,
    folder: Path,
) -> tuple[Expected, list[Observed], dict[str, float]]:
    """PyTorch's answer, every engine's, and each engine's largest difference over its tolerance, on one batch.

    A ReLU input near zero changes side by rounding alone and then moves a gradient by more than any tolerance. That is
    chance, while a wrong graph is wrong on every batch: so the first of a few `attempts` on which all engines agree
    counts. Raises DisagreementError, of the first batch, if there is none.
    """
    held = () if format == "dense" else tuple(source.layers)
    disagreements = []
    for seed, nudges in attempts():
        batch = make_batch(source.input, len(source.class_names), optimizer.kind, seed, source.task)
        expected = expect(source, built.trained, held, batch, optimizer, smoothing, built.captured.trainable, nudges)
        observed = observe(built, represented, expected.batch, optimizer, smoothing, folder)
        try:
            agreement = {seen.engine: compare(expected, seen, built.kept, seen.engine != "ort") for seen in observed}
        except DisagreementError as disagreement:
            disagreements.append(disagreement)
        else:
            return expected, observed, agreement
    raise disagreements[0]


def observe(
    built: Built,
    represented: dict[str, Represented] | None,
    batch: Batch,
    optimizer: OptimizerChoice,
    smoothing: float,
    folder: Path,
) -> list[Observed]:
    """What every engine that is here makes of the batch; the plain numpy executor is, where it knows all operators."""
    own = built.native_reason is None
    observed = [observe_reference(built.network, batch, optimizer, smoothing)] if own else []
    if represented is not None:
        parts = {name: written.as_json() for name, written in represented.items()}
        observed.append(observe_ort(folder, batch, built.network, parts))
    if own and native_missing() is None:
        observed.append(observe_native(built.network, batch, optimizer, smoothing))
    return observed


def _sizes(built: Built, source: Source) -> list[LayerSize]:
    """What every weight of two dimensions or more takes, in the order of the graph."""
    stored = tensors(built.forward.graph)
    whole = tensors(built.captured.model.graph)
    names = dict.fromkeys(name for node in built.forward.graph.node for name in node.input)
    weights = [name for name in names if name in built.captured.parameters and stored[name].ndim > 1]
    sizes = []
    for name in weights:
        parameter = built.compressed.get(name) or Parameter(name, stored[name].shape, {"values": stored[name]})
        sizes.append(layer_size(parameter, whole[name].shape, source.layers.get(name)))
    return sizes
