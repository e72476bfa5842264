"""A PyTorch model becomes one plain ONNX forward graph. With verification the only module of export that runs torch."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from dataclasses import dataclass

import onnx
import torch
from torch import nn

from export.graph import OPSET, stamp
from export.passes import normalise
from mest.errors import InputError

INPUT, OUTPUT = "input", "logits"


@dataclass(frozen=True)
class Captured:
    """The forward graph in evaluation mode, nothing folded, batch free; and what its initializers are.

    `parameters`: weights that training moves. `statistics`: running means and variances. Both as PyTorch names them.
    """

    model: onnx.ModelProto
    parameters: tuple[str, ...]
    statistics: tuple[str, ...]


def capture(model: nn.Module, input_shape: tuple[int, int, int]) -> Captured:
    """Return the model's forward graph from images `(n, *input_shape)` to logits `(n, classes)`, opset 18.

    Raises InputError for a model with an operator that cannot be exported, naming operator and module.
    """
    check_exporter(torch.__version__)
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and (
            module.momentum is None or not module.track_running_stats
        ):
            raise InputError(
                f"{name}: batch norm without running statistics or with momentum=None cannot be exported; "
                "give it a momentum and track_running_stats=True"
            )
    training = model.training
    device = next(model.parameters()).device
    model = model.eval().cpu()
    example = torch.zeros(2, *input_shape)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet_exporter():
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
    proto = stamp(program.model_proto)
    parameters = tuple(name for name, _ in model.named_parameters())
    statistics = tuple(name for name, _ in model.named_buffers() if name.endswith(("running_mean", "running_var")))
    normalise(proto, {*parameters, *statistics})
    present = {tensor.name for tensor in proto.graph.initializer}
    return Captured(
        proto,
        tuple(name for name in parameters if name in present),
        tuple(name for name in statistics if name in present),
    )


def check_exporter(torch_version: str) -> None:
    """Raise InputError for torch 2.6, whose exporter leaves batch norm in a form that no training graph can hold."""
    if tuple(map(int, re.findall(r"\d+", torch_version)[:2])) < (2, 7):
        raise InputError(
            f"torch {torch_version} cannot export batch norm for training; install a newer torch (2.13 and 2.15 are "
            "tested), which loads the same run"
        )


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
    advice = "replace that operation in the model by convolution, linear, batch norm, ReLU, pooling or addition"
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
