"""Drops the guard against rows hidden whole, as scaled_dot_product_attention has it behind a boolean mask."""

from __future__ import annotations

import numpy as np
import onnx

from export.graph import attributes, producers, rename_input, tensors


def drop_softmax_guard(model: onnx.ModelProto) -> int:
    """Read s instead of Where(IsNaN(s), 0, s) behind s = Softmax(scores + a stored mask); return how many.

    Requires folded constants. Ensures that a guard stays where the mask hides a whole row, whose softmax is NaN.
    """
    graph = model.graph
    constants, makers = tensors(graph), producers(graph)
    ends = {output.name for output in graph.output}
    dropped = 0
    for node in list(graph.node):
        softmax = _guarded(node, makers, constants)
        if softmax is None or node.output[0] in ends or not _leaves_every_row(softmax, makers, constants):
            continue
        graph.node.remove(node)
        rename_input(graph, node.output[0], softmax.output[0])
        dropped += 1
    return dropped


def _guarded(
    node: onnx.NodeProto, makers: dict[str, onnx.NodeProto], constants: dict[str, np.ndarray]
) -> onnx.NodeProto | None:
    """The softmax that a Where reads, with zeros in the place of what is no number."""
    if node.op_type != "Where":
        return None
    asked, instead, value = node.input
    test, softmax = makers.get(asked), makers.get(value)
    if test is None or test.op_type != "IsNaN" or list(test.input) != [value]:
        return None
    if softmax is None or softmax.op_type != "Softmax" or instead not in constants or constants[instead].any():
        return None
    return softmax


def _leaves_every_row(
    softmax: onnx.NodeProto, makers: dict[str, onnx.NodeProto], constants: dict[str, np.ndarray]
) -> bool:
    """True if the mask that is added to the scores hides no row of the last axis whole."""
    scores = makers.get(softmax.input[0])
    if scores is None or scores.op_type != "Add" or attributes(softmax).get("axis", -1) != -1:
        return False
    masks = [constants[name] for name in scores.input if name in constants]
    return len(masks) == 1 and masks[0].ndim > 0 and bool(np.isfinite(masks[0]).any(-1).all())
