"""The loss on top of the answers: each task's as PyTorch has it, and a scale for micro-batches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper

from edge.tasks.segmentation import IGNORED
from edge.tasks.task import Task
from export.graph import set_tensor, shapes

LABELS, LOSS, SCALE = "labels", "loss", "mest.loss_scale"


def append_loss(model: onnx.ModelProto, logits: str, label_smoothing: float, task: Task) -> None:
    """Append the input `labels` and the scalar `loss` to a graph that ends in the answers of a task, in place.

    loss = scale · mean over the terms of a batch. The scale is a frozen parameter of value 1: a step over micro-batches
    sets it to the share of the terms that a piece has, m/n of m samples out of n, so that accumulated gradients and
    losses add up to those of the whole batch. Where the inputs are what is wanted there are no `labels`.
    """
    graph = model.graph
    set_tensor(graph, SCALE, np.ones(1, np.float32))
    mean = LOSSES[task.name](model, logits, label_smoothing)
    set_tensor(graph, "loss.scalar", np.array([], np.int64))
    _node(graph, "Mul", [mean, SCALE], "loss.scaled")
    _node(graph, "Reshape", ["loss.scaled", "loss.scalar"], LOSS)
    graph.output.insert(0, helper.make_tensor_value_info(LOSS, TensorProto.FLOAT, []))


def _node(graph: onnx.GraphProto, kind: str, inputs: list[str], output: str, **attributes: object) -> str:
    graph.node.append(helper.make_node(kind, inputs, [output], output, **attributes))
    return output


def _sizes(model: onnx.ModelProto, value: str) -> list[int]:
    """The shape of one answer."""
    return [int(size or 0) for size in shapes(model)[value][1:]]


def _labels(graph: onnx.GraphProto, kind: int, shape: list[int]) -> None:
    graph.input.append(helper.make_tensor_value_info(LABELS, kind, ["batch", *shape]))


def _cross_entropy(model: onnx.ModelProto, logits: str, label_smoothing: float) -> str:
    """Mean over the batch of −Σ q log p, q = 1−ε on the label, int64 (n,), + ε/classes everywhere."""
    graph = model.graph
    _labels(graph, TensorProto.INT64, [])
    graph.node.append(
        helper.make_node(
            "SoftmaxCrossEntropyLoss", [logits, LABELS], ["loss.hard", "loss.log_prob"], "loss.hard", reduction="mean"
        )
    )
    if not label_smoothing:
        return "loss.hard"
    set_tensor(graph, "loss.hard_weight", np.array(1 - label_smoothing, np.float32))
    set_tensor(graph, "loss.soft_weight", np.array(-label_smoothing, np.float32))
    _node(graph, "LogSoftmax", [logits], "loss.log_softmax", axis=1)
    _node(graph, "ReduceMean", ["loss.log_softmax"], "loss.soft", keepdims=0)
    _node(graph, "Mul", ["loss.hard", "loss.hard_weight"], "loss.hard_part")
    _node(graph, "Mul", ["loss.soft", "loss.soft_weight"], "loss.soft_part")
    return _node(graph, "Add", ["loss.hard_part", "loss.soft_part"], "loss.mean")


def _binary_cross_entropy(model: onnx.ModelProto, logits: str, _: float) -> str:
    """Mean over samples and labels, uint8 (n, labels): cross-entropy of two classes with the logits 0 and z.

    Written so it is exact for logits of any size, and its gradient at 0 too.
    """
    graph = model.graph
    _labels(graph, TensorProto.UINT8, _sizes(model, logits))
    set_tensor(graph, "loss.axis", np.array([1], np.int64))
    set_tensor(graph, "loss.zero", np.zeros((), np.float32))
    _node(graph, "Unsqueeze", [logits, "loss.axis"], "loss.given")
    _node(graph, "Mul", ["loss.given", "loss.zero"], "loss.not_given")
    _node(graph, "Concat", ["loss.not_given", "loss.given"], "loss.two", axis=1)
    _node(graph, "Cast", [LABELS], "loss.classes", to=TensorProto.INT64)
    graph.node.append(
        helper.make_node(
            "SoftmaxCrossEntropyLoss",
            ["loss.two", "loss.classes"],
            ["loss.mean", "loss.log_prob"],
            "loss.mean",
            reduction="mean",
        )
    )
    return "loss.mean"


def _squared_error(model: onnx.ModelProto, answers: str, targets: str) -> str:
    graph = model.graph
    _node(graph, "Sub", [answers, targets], "loss.error")
    _node(graph, "Mul", ["loss.error", "loss.error"], "loss.square")
    return _node(graph, "ReduceMean", ["loss.square"], "loss.mean", keepdims=0)


def _error_of_targets(model: onnx.ModelProto, answers: str, _: float) -> str:
    """Mean squared error over samples and outputs; targets float32 (n, outputs)."""
    _labels(model.graph, TensorProto.FLOAT, _sizes(model, answers))
    return _squared_error(model, answers, LABELS)


def _error_of_inputs(model: onnx.ModelProto, answers: str, _: float) -> str:
    """Mean squared error over all numbers of the graph's own input."""
    return _squared_error(model, answers, model.graph.input[0].name)


def _pixel_cross_entropy(model: onnx.ModelProto, logits: str, _: float) -> str:
    """Mean over the pixels that have a class; masks uint8 (n, height, width), 0 of none."""
    graph = model.graph
    _labels(graph, TensorProto.UINT8, _sizes(model, logits)[1:])
    set_tensor(graph, "loss.ignored", np.array(IGNORED, np.int64))
    set_tensor(graph, "loss.one", np.ones((), np.float32))
    _node(graph, "Cast", [LABELS], "loss.classes", to=TensorProto.INT64)
    graph.node.append(
        helper.make_node(
            "SoftmaxCrossEntropyLoss",
            [logits, "loss.classes"],
            ["loss.sum", "loss.log_prob"],
            "loss.sum",
            reduction="sum",
            ignore_index=IGNORED,
        )
    )
    _node(graph, "Equal", ["loss.classes", "loss.ignored"], "loss.unknown")
    _node(graph, "Not", ["loss.unknown"], "loss.known")
    _node(graph, "Cast", ["loss.known"], "loss.counted", to=TensorProto.FLOAT)
    _node(graph, "ReduceSum", ["loss.counted"], "loss.pixels", keepdims=0)
    _node(graph, "Max", ["loss.pixels", "loss.one"], "loss.terms")
    return _node(graph, "Div", ["loss.sum", "loss.terms"], "loss.mean")


LOSSES: dict[str, Callable[[onnx.ModelProto, str, float], str]] = {
    "classification": _cross_entropy,
    "multilabel": _binary_cross_entropy,
    "regression": _error_of_targets,
    "reconstruction": _error_of_inputs,
    "segmentation": _pixel_cross_entropy,
}
