"""From a trained model to an artifact directory: capture, compact, compress, build, verify, write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from edge.manifest import Manifest
from edge.network import Network, select_trainable, write_network
from edge.parameter import Parameter
from edge.plan.choices import OptimizerChoice
from export.capture import Captured, capture
from export.compact import Kept, compact
from export.compress import ROOM, compress, slots, with_compressed
from export.directory import check_writable, whole_directory
from export.graph import tensors
from export.inference import write_inference
from export.lower import describe, lower
from export.manifest import Facts, write_facts
from export.observe import Batch, Observed, native_missing, observe_native, observe_ort, observe_reference
from export.ort.artifacts import write_artifacts
from export.ort.files import missing
from export.ort.memory import live_memory, measured_memory
from export.ort.represent import Represented, represent
from export.sizes import LayerSize, layer_size
from export.source import Source
from export.verify import DisagreementError, Expected, compare, expect, make_batch
from mest.errors import InputError

# Batches that the engines may be judged on before an export is refused; see judge.
BATCHES = 3
RECOMPUTE = ("none", "blocks")


@dataclass(frozen=True)
class Options:
    """What a user may choose; None takes what the run was trained with.

    `room`: "none", "em" or "ems", the mutation that onnxruntime-training's tensors leave room for on the board.
    `recompute`: "none" or "blocks", what the backward pass of its training graph recomputes.
    """

    format: str = "auto"
    trainable: str = "all"
    optimizer: OptimizerChoice | None = None
    label_smoothing: float | None = None
    room: str = "em"
    recompute: str = "none"
    measure: bool = True


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


@dataclass(frozen=True)
class OrtFiles:
    """Each sparse layer's names in the onnxruntime-training files, or None and the reason why there are no files.

    `blocks`: the values between which the blocks lie that the backward pass recomputes.
    """

    represented: dict[str, Represented] | None
    reason: str | None = None
    blocks: tuple[tuple[str, str], ...] = ()


def build(source: Source, captured: Captured, options: Options) -> Built:
    """Decide the form of every layer of a captured model. Raises InputError for what cannot be exported."""
    forward = onnx.ModelProto.FromString(captured.model.SerializeToString())
    _apply_masks(forward, source)
    channels = {name: layer for name, layer in source.layers.items() if layer.scheme == "channel"}
    kept = compact(forward, channels if options.format in ("auto", "channel") else {})
    compressed = compress(forward, source.layers, kept, options.format)
    native_reason = None
    try:
        plain = lower(forward, captured.parameters)
    except InputError:
        plain, native_reason = describe(forward, captured.parameters, captured.statistics)
    network = with_compressed(plain, compressed)
    chosen = select_trainable(network, options.trainable)
    trained = tuple(name for name in captured.parameters if name in chosen)
    network = network.with_parameters(
        {name: replace(parameter, trainable=name in chosen) for name, parameter in network.parameters.items()}
    )
    frozen = tuple(name for name in captured.parameters if name not in trained)
    return Built(captured, forward, kept, compressed, network, trained, (*captured.statistics, *frozen), native_reason)


def export_artifact(
    source: Source, out: Path, options: Options, say: Callable[[str], None] = lambda message: None
) -> Manifest:
    """Write the artifact directory, durably and whole, and return its manifest.

    Raises InputError for a model or options that cannot be exported, DisagreementError where an engine's result differs
    from PyTorch's; nothing is written then.
    """
    check_writable(out)
    if options.room not in ROOM:
        raise InputError(f"--mutate {options.room}: allowed are {', '.join(ROOM)}")
    if options.recompute not in RECOMPUTE:
        raise InputError(f"--recompute {options.recompute}: allowed are {', '.join(RECOMPUTE)}")
    optimizer = options.optimizer or source.optimizer
    smoothing = source.label_smoothing if options.label_smoothing is None else options.label_smoothing
    say("capturing the model")
    built = build(source, capture(source.model, source.input), options)
    with whole_directory(out) as folder:
        say("writing the graphs")
        write_inference(built.forward, folder)
        files = write_ort(built, optimizer, smoothing, options.room, folder, options.recompute)
        if built.native_reason is not None and files.reason is not None:
            raise InputError(
                f"{built.native_reason}; and onnxruntime-training cannot train it: {files.reason}; replace that "
                "operation by convolution, linear, batch norm, ReLU, pooling or addition"
            )
        if options.recompute != "none" and files.reason is not None:
            raise InputError(f"--recompute {options.recompute} is of onnxruntime-training's graph: {files.reason}")
        write_network(built.network, folder)
        say("comparing the engines with PyTorch")
        expected, observed, agreement = judge(
            built, source, options.format, files.represented, optimizer, smoothing, folder
        )
        memory = None
        if files.reason is None:
            memory = (measured_memory(folder, source.input) if options.measure else None) or live_memory(folder)
        facts = Facts(
            source=source,
            options=options,
            optimizer=optimizer,
            label_smoothing=smoothing,
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
    try:
        blocks = write_artifacts(model, trained, frozen, optimizer, smoothing, folder, recompute)
    except InputError as refused:
        return OrtFiles(None, str(refused))
    return OrtFiles(represented, None, blocks)


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
    chance, and gone with another batch, while a wrong graph is wrong on every one: so the first of a few batches on
    which all engines agree counts. Raises DisagreementError, of the first batch, if there is none.
    """
    held = () if format == "dense" else tuple(source.layers)
    disagreements = []
    for seed in range(BATCHES):
        batch = make_batch(source.input, len(source.class_names), optimizer.kind, seed)
        expected = expect(source, built.trained, held, batch, optimizer, smoothing)
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
