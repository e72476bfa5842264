"""Drops a stored zero that a sum began with, as `y = 0` before a loop over branches leaves it."""

from __future__ import annotations

import onnx

from export.graph import rename_input, tensors


def drop_zero_term(model: onnx.ModelProto) -> int:
    """Remove additions of one stored number that is zero; return how many.

    Requires folded constants. Ensures that a sum between a graph input and a graph output stays.
    """
    graph = model.graph
    constants = tensors(graph)
    ends = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    removed = 0
    for node in list(graph.node):
        if node.op_type != "Add":
            continue
        zeros = [name for name in node.input if name in constants and constants[name].size == 1 and not constants[name]]
        others = [name for name in node.input if name not in zeros]
        if len(zeros) != 1 or constants[zeros[0]].ndim > 1 or (node.output[0] in ends and others[0] in ends):
            continue
        graph.node.remove(node)
        rename_input(graph, node.output[0], others[0])
        removed += 1
    return removed
