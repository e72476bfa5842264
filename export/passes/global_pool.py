"""Averages over the whole image → GlobalAveragePool, whichever way the model wrote them."""

from __future__ import annotations

import onnx
from onnx import helper

from export.graph import attributes, set_attributes, shapes, tensors


def restore_global_pool(model: onnx.ModelProto) -> int:
    """Turn AveragePool and ReduceMean over the whole image into GlobalAveragePool; return how many.

    Requires (n, c, h, w) inputs of known h and w. Ensures equal results; a ReduceMean that drops the axes is followed
    by a Flatten. (onnxruntime-training has no gradient for AveragePool that fits a free batch.)
    """
    graph = model.graph
    sizes, constants = shapes(model), tensors(graph)
    changed = 0
    for index, node in reversed(list(enumerate(graph.node))):
        values, size = attributes(node), sizes.get(node.input[0] if node.input else "", ())
        if len(size) != 4:
            continue
        if node.op_type == "AveragePool":
            whole = tuple(values["kernel_shape"]) == size[2:] and not any(values.get("pads", ()))
            keep = True
        elif node.op_type == "ReduceMean":
            axes = constants.get(node.input[1]) if len(node.input) > 1 else values.get("axes")
            whole = axes is not None and sorted(axis % 4 for axis in axes) == [2, 3]
            keep = bool(values.get("keepdims", 1))
        else:
            continue
        if not whole:
            continue
        output = node.output[0]
        node.op_type = "GlobalAveragePool"
        del node.input[1:]
        set_attributes(node, **dict.fromkeys(values))
        if not keep:
            node.output[0] = f"{output}_pooled"
            flatten = helper.make_node("Flatten", [node.output[0]], [output], axis=1)
            flatten.metadata_props.extend(node.metadata_props)
            graph.node.insert(index + 1, flatten)
        changed += 1
    return changed
