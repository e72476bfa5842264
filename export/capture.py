"""A PyTorch model becomes one plain ONNX forward graph. With verification the only module of export that runs torch."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from export.checks.faithful import refuse_changed, refuse_divisors
from export.graph import OPSET, mark_frozen, rename_initializers, stamp
from export.passes import normalise
from mest.errors import InputError
from mest.models.probe import Probe, eager, probe
from mest.sparse.layers import bare

INPUT, OUTPUT = "input", "logits"


@dataclass(frozen=True)
class Captured:
    """The forward graph in evaluation mode, nothing folded, batch free; and what its initializers are.

    `parameters`: weights and biases. `statistics`: running means and variances. Both as PyTorch names them; one that is
    registered under several names has the first. `still`: the parameters that training never moves; `unread`: those
    that no pass uses, by all their names.
    """

    model: onnx.ModelProto
    parameters: tuple[str, ...]
    statistics: tuple[str, ...]
    still: frozenset[str] = frozenset()
    unread: frozenset[str] = frozenset()

    @property
    def trainable(self) -> tuple[str, ...]:
        """The parameters that training moves."""
        return tuple(name for name in self.parameters if name not in self.still)


def capture(model: nn.Module, input_shape: tuple[int, ...], preferred: Collection[str] = ()) -> Captured:
    """Return the model's forward graph from inputs `(n, *input_shape)` to logits `(n, classes)`, opset 18.

    A parameter with several names has the first of those `preferred`, or the first of all. Raises InputError for a
    model whose training is not its evaluation, or with an operator that cannot be exported, naming operator and module.
    """
    check_exporter(torch.__version__)
    model = bare(model)
    found = _looked_at(model, input_shape)
    training = model.training
    device = next(model.parameters()).device
    model = model.eval().cpu()
    example = torch.zeros(2, *input_shape)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet_exporter(), _plain():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                optimize=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=1 << 16)},),
                verbose=False,
            )
    except Exception as failed:
        raise InputError(_refusal(model, example, failed)) from failed
    finally:
        model.train(training).to(device)
    assert program is not None  # the exporter returns a program whenever dynamo=True
    if program.exported_program is not None:
        refuse_divisors(program.exported_program.graph.nodes)
    _separate(program.model.graph)
    proto = stamp(program.model_proto)
    names = _names(model, preferred)
    rename_initializers(proto.graph, names)
    _mark_frozen_norms(proto.graph, {names[f"{path}.running_mean"] for path in found.still_norms})
    parameters = tuple(dict.fromkeys(names[name] for name, _ in model.named_parameters()))
    statistics = tuple(
        dict.fromkeys(
            names[name] for name, _ in model.named_buffers() if name.endswith(("running_mean", "running_var"))
        )
    )
    normalise(proto, {*parameters, *statistics})
    refuse_changed(proto)
    present = {tensor.name for tensor in proto.graph.initializer}
    return Captured(
        proto,
        tuple(name for name in parameters if name in present),
        tuple(name for name in statistics if name in present),
        frozenset(name for name in parameters if name in found.still),
        found.unread,
    )


def _looked_at(model: nn.Module, input_shape: tuple[int, ...]) -> Probe:
    """What one look at the model's passes says, where a board can train what it computes; raises InputError."""
    try:
        found = probe(model, input_shape)
    except Exception as failed:  # whatever a model of one's own raises
        reason = str(failed).strip().splitlines()[0] if str(failed).strip() else type(failed).__name__
        raise InputError(f"the model's own forward and backward pass fail ({reason})") from failed
    if found.departures:
        raise InputError(found.departures[0])
    return found


def _separate(graph: Any) -> None:
    """Rename computed values that have an initializer's name, as of a buffer `mean` beside a call of mean."""
    taken = set(graph.initializers)
    for node in graph:
        for output in node.outputs:
            if output.name in taken:
                output.name = f"{output.name}.value"
                while output.name in taken:
                    output.name += "_"
                taken.add(output.name)


def _names(model: nn.Module, preferred: Collection[str]) -> dict[str, str]:
    """The one name of every parameter and buffer, by each of its names: what is registered twice is one tensor."""
    found = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    first: dict[int, str] = {}
    for name, tensor in (*(pair for pair in found if pair[0] in preferred), *found):
        first.setdefault(id(tensor), name)
    return {name: first[id(tensor)] for name, tensor in found}


def _mark_frozen_norms(graph: onnx.GraphProto, means: Collection[str]) -> None:
    for node in graph.node:
        if node.op_type == "BatchNormalization" and node.input[3] in means:
            mark_frozen(node)


def check_exporter(torch_version: str) -> None:
    """Raise InputError for torch 2.6, whose exporter leaves batch norm in a form that no training graph can hold."""
    if tuple(map(int, re.findall(r"\d+", torch_version)[:2])) < (2, 7):
        raise InputError(
            f"torch {torch_version} cannot export batch norm for training; install a newer torch (2.13 and 2.15 are "
            "tested), which loads the same run"
        )


@contextlib.contextmanager
def _plain():  # type: ignore[no-untyped-def]  # a generator function for contextmanager
    """Compiled modules as they were written, and attention as the products that the exporter makes of it.

    A fused kernel may lay its result out in another way than those do; a reshape behind it, which the exporter takes
    for a view by what the kernel did, then fits no longer.
    """
    with eager(), sdpa_kernel(SDPBackend.MATH):
        yield


@contextlib.contextmanager
def _quiet_exporter():  # type: ignore[no-untyped-def]  # a generator function for contextmanager
    """Keep the exporter's own log lines (torchvision missing and the like) off standard error."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _refusal(model: nn.Module, example: torch.Tensor, failed: BaseException) -> str:
    """One line: the operator that stopped the exporter, the module it is in, and what can be done."""
    texts = []
    error: BaseException | None = failed
    while error is not None:
        texts.append(str(error))
        error = error.__cause__ or error.__context__
    text = "\n".join(texts)
    advice = "replace that operation in the model by what docs/network-format.md lists"
    named = [name.replace("::", ".") for name in re.findall(r"op='([\w.:]+)'", text)]
    wanted = named or re.findall(r"aten\.\w+(?:\.\w+)?", text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported = torch.export.export(model, (example,), strict=False)
    except Exception as untraceable:
        reason = str(untraceable).strip().splitlines()[0] if str(untraceable).strip() else type(untraceable).__name__
        return f"the model cannot be traced into a graph ({reason}); remove control flow that depends on values"
    for node in exported.graph.nodes:
        target = str(node.target)
        if node.op == "call_function" and any(target == name or target.startswith(f"{name}.") for name in wanted):
            stack = node.meta.get("nn_module_stack") or {}
            path, kind = list(stack.values())[-1] if stack else ("", type(model))
            kind = kind if isinstance(kind, str) else kind.__name__
            return f"operator {target} in module {path or 'the model'} ({kind}) cannot be exported to ONNX; {advice}"
    reason = next((line for line in text.splitlines() if line.strip()), type(failed).__name__)
    return f"the model cannot be exported to ONNX ({reason.strip()}); {advice}"
