"""Removes nodes that pass their input on: Identity, Dropout in evaluation mode, Cast to the same type, an empty Pad."""

from __future__ import annotations

import onnx

from export.graph import attributes, rename_input, tensors


def remove_identity(model: onnx.ModelProto) -> int:
    """Remove Identity, Dropout, float-to-float Cast and Pad without padding; return how many.

    Requires a graph exported in evaluation mode. Ensures that graph inputs and outputs keep their names; a node
    between a graph input and a graph output stays.
    """
    graph = model.graph
    inferred = onnx.shape_inference.infer_shapes(model).graph
    kinds = {info.name: info.type.tensor_type.elem_type for info in (*inferred.input, *inferred.value_info)}
    outputs = {output.name for output in graph.output}
    stored = tensors(graph)
    inputs = {value.name for value in graph.input}
    removed = 0
    for node in list(graph.node):
        same_type = node.op_type == "Cast" and kinds.get(node.input[0]) == attributes(node)["to"]
        pads = stored.get(node.input[1]) if node.op_type == "Pad" else None
        if node.op_type not in ("Identity", "Dropout") and not same_type and (pads is None or pads.any()):
            continue
        if node.output[0] in outputs and node.input[0] in inputs | outputs | {t.name for t in graph.initializer}:
            continue
        graph.node.remove(node)
        rename_input(graph, node.output[0], node.input[0])
        removed += 1
    return removed
