"""Averages over the whole image or window → GlobalAveragePool, whichever way the model wrote them."""

from __future__ import annotations

import onnx
from onnx import helper

from export.graph import attributes, consumers, producers, remove_unused, set_attributes, shapes, tensors
from export.passes.identity import remove_identity


def restore_global_pool(model: onnx.ModelProto) -> int:
    """Turn AveragePool and ReduceMean over the whole image or window into GlobalAveragePool; return how many.

    Requires inputs (n, c, h, w) or (n, c, l) of known size. Ensures equal results; a ReduceMean that drops the axes is
    followed by a Flatten. (onnxruntime-training has no gradient for AveragePool that fits a free batch.)
    """
    graph = model.graph
    changed = _in_windows(model)
    sizes, constants = shapes(model), tensors(graph)
    for index, node in reversed(list(enumerate(graph.node))):
        values, size = attributes(node), sizes.get(node.input[0] if node.input else "", ())
        if len(size) not in (3, 4):
            continue
        if node.op_type == "AveragePool":
            whole = tuple(values["kernel_shape"]) == size[2:] and not any(values.get("pads", ()))
            keep = True
        elif node.op_type == "ReduceMean":
            axes = constants.get(node.input[1]) if len(node.input) > 1 else values.get("axes")
            whole = axes is not None and sorted(axis % len(size) for axis in axes) == list(range(2, len(size)))
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


def _in_windows(model: onnx.ModelProto) -> int:
    """Pool windows as they are where each is made an image of height 1 for that, as the exporter writes it; how many.

    The Squeeze behind loses the row that the Unsqueeze in front put in.
    """
    graph = model.graph
    sizes, constants, makers, readers = shapes(model), tensors(graph), producers(graph), consumers(graph)
    changed = 0
    for node in graph.node:
        before, after = makers.get(node.input[0] if node.input else ""), readers.get(node.output[0], [])
        if node.op_type != "GlobalAveragePool" or before is None or before.op_type != "Unsqueeze":
            continue
        if len(after) != 1 or after[0].op_type != "Squeeze" or len(sizes.get(before.input[0], ())) != 3:
            continue
        axes = [constants.get(each.input[1]) if len(each.input) > 1 else None for each in (before, after[0])]
        if any(axis is None or [int(one) % 4 for one in axis.reshape(-1)] != [2] for axis in axes):
            continue
        node.input[0] = before.input[0]
        after[0].op_type = "Identity"
        del after[0].input[1:]
        changed += 1
    if changed:
        remove_identity(model)
        remove_unused(graph)
    return changed
