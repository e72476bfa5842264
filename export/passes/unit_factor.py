"""Drops a stored one by which something is multiplied or divided, as PyTorch's exporter writes ELU and softplus."""

from __future__ import annotations

import onnx

from export.graph import rename_input, tensors


def drop_unit_factor(model: onnx.ModelProto, parameters: set[str] | None = None) -> int:
    """Remove products with one stored number that is 1, and quotients by it; return how many.

    Requires folded constants. Ensures that a factor that is a parameter stays, and one between a graph input and a
    graph output.
    """
    graph, kept = model.graph, parameters or set()
    single = {name: array for name, array in tensors(graph).items() if array.size == 1 and array.ndim <= 1}
    constants = {name: array for name, array in single.items() if name not in kept}
    ends = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    removed = 0
    for node in list(graph.node):
        places = {"Mul": (0, 1), "Div": (1,)}.get(node.op_type, ())
        ones = [place for place in places if node.input[place] in constants and constants[node.input[place]] == 1]
        if len(ones) != 1 or (node.output[0] in ends and node.input[1 - ones[0]] in ends):
            continue
        graph.node.remove(node)
        rename_input(graph, node.output[0], node.input[1 - ones[0]])
        removed += 1
    return removed
