"""The loss on top of the logits: cross-entropy, label smoothing as PyTorch has it, and a scale for micro-batches."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from export.graph import set_tensor

LABELS, LOSS, SCALE = "labels", "loss", "mest.loss_scale"


def append_loss(model: onnx.ModelProto, logits: str, label_smoothing: float) -> None:
    """Append inputs `labels` (n,) int64 and the scalar `loss` to a graph that ends in logits (n, classes), in place.

    loss = scale · mean over the batch of −Σ q log p, q = 1−ε on the label + ε/classes everywhere. The scale is a frozen
    parameter of value 1: a step over micro-batches of m from a batch of n sets it to m/n, so that accumulated gradients
    and losses add up to those of the whole batch.
    """
    graph = model.graph
    graph.input.append(helper.make_tensor_value_info(LABELS, TensorProto.INT64, ["batch"]))
    set_tensor(graph, SCALE, np.ones(1, np.float32))
    graph.node.append(
        helper.make_node(
            "SoftmaxCrossEntropyLoss", [logits, LABELS], ["loss.hard", "loss.log_prob"], "loss.hard", reduction="mean"
        )
    )
    mean = "loss.hard"
    if label_smoothing:
        set_tensor(graph, "loss.hard_weight", np.array(1 - label_smoothing, np.float32))
        set_tensor(graph, "loss.soft_weight", np.array(-label_smoothing, np.float32))
        graph.node.extend(
            [
                helper.make_node("LogSoftmax", [logits], ["loss.log_softmax"], "loss.log_softmax", axis=1),
                helper.make_node("ReduceMean", ["loss.log_softmax"], ["loss.soft"], "loss.soft", keepdims=0),
                helper.make_node("Mul", ["loss.hard", "loss.hard_weight"], ["loss.hard_part"], "loss.hard_part"),
                helper.make_node("Mul", ["loss.soft", "loss.soft_weight"], ["loss.soft_part"], "loss.soft_part"),
                helper.make_node("Add", ["loss.hard_part", "loss.soft_part"], ["loss.mean"], "loss.mean"),
            ]
        )
        mean = "loss.mean"
    set_tensor(graph, "loss.scalar", np.array([], np.int64))
    graph.node.extend(
        [
            helper.make_node("Mul", [mean, SCALE], ["loss.scaled"], "loss.scaled"),
            helper.make_node("Reshape", ["loss.scaled", "loss.scalar"], [LOSS], LOSS),
        ]
    )
    graph.output.insert(0, helper.make_tensor_value_info(LOSS, TensorProto.FLOAT, []))
