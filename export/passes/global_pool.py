"""Averages, maxima and sums over the whole image or window → global pooling, whichever way the model wrote them."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx
from onnx import helper

from export.graph import attributes, consumers, producers, remove_unused, set_attributes, set_tensor, shapes, tensors
from export.passes.identity import remove_identity

REDUCTIONS = ("ReduceMean", "ReduceMax", "ReduceSum")
Sizes = dict[str, tuple[int | None, ...]]


def restore_global_pool(model: onnx.ModelProto) -> int:
    """Turn pools and reductions over the whole image or window into global ones; return how many.

    AveragePool and ReduceMean become GlobalAveragePool, ReduceSum that times the number of pixels, ReduceMax a MaxPool
    of one window. A reduction of an image whose pixels were put in one row before is one over the image.

    Requires inputs (n, c, h, w) or (n, c, l) of known size. Ensures equal results; a reduction that drops the axes is
    followed by a Flatten. Of equal largest pixels one gets the gradient. (onnxruntime-training has no gradient for
    AveragePool that fits a free batch.)
    """
    graph = model.graph
    changed = _in_windows(model) + _reduce_images(model)
    sizes = shapes(model)
    for index, node in reversed(list(enumerate(graph.node))):
        image = sizes.get(node.input[0] if node.input else "", ())[2:]
        if len(image) not in (1, 2) or None in image or not _is_global(node, image, tensors(graph)):
            continue
        kind, keeps = node.op_type, bool(attributes(node).get("keepdims", 1))
        _replace(graph, index, kind, tuple(int(size or 0) for size in image), keeps)
        changed += 1
    return changed


def _is_global(node: onnx.NodeProto, image: tuple[int | None, ...], constants: dict[str, np.ndarray]) -> bool:
    values = attributes(node)
    if node.op_type == "AveragePool":
        return tuple(values["kernel_shape"]) == image and not any(values.get("pads", ()))
    if node.op_type not in REDUCTIONS:
        return False
    rank = 2 + len(image)
    return _axes(node, rank, constants) == list(range(2, rank))


def _axes(node: onnx.NodeProto, rank: int, constants: dict[str, np.ndarray]) -> list[int] | None:
    """The axes of a reduction, from 0; None where they are not stored."""
    axes = constants.get(node.input[1]) if len(node.input) > 1 else attributes(node).get("axes")
    return None if axes is None else sorted(int(axis) % rank for axis in np.atleast_1d(axes))


def _replace(graph: onnx.GraphProto, index: int, kind: str, image: tuple[int, ...], keeps: bool) -> None:
    """Make the node a global pool; behind it what a sum and dropped axes need, which ends in the node's own value."""
    node = graph.node[index]
    output = node.output[0]
    behind: list[onnx.NodeProto] = []
    value = output if keeps and kind != "ReduceSum" else f"{output}_pooled"
    node.output[0] = value
    if kind == "ReduceSum":
        pixels, total = f"{output}.pixels", output if keeps else f"{output}_total"
        set_tensor(graph, pixels, np.float32(prod(image)))
        behind.append(helper.make_node("Mul", [value, pixels], [total], total))
        value = total
    if not keeps:
        behind.append(helper.make_node("Flatten", [value], [output], axis=1))
    set_attributes(node, **dict.fromkeys(attributes(node)))
    del node.input[1:]
    node.op_type = "GlobalAveragePool"
    if kind == "ReduceMax":
        node.op_type = "MaxPool"
        set_attributes(node, kernel_shape=list(image), strides=[1] * len(image))
    for place, made in enumerate(behind, index + 1):
        made.metadata_props.extend(node.metadata_props)
        graph.node.insert(place, made)


def _reduce_images(model: onnx.ModelProto) -> int:
    """Reductions of `x.flatten(2)` along its last axis, which they drop → of x along its last two; how many."""
    graph = model.graph
    sizes, constants, makers = shapes(model), tensors(graph), producers(graph)
    changed = 0
    for node in graph.node:
        reshape = makers.get(node.input[0]) if node.op_type in REDUCTIONS else None
        if reshape is None or reshape.op_type != "Reshape" or attributes(node).get("keepdims", 1):
            continue
        before, after = sizes.get(reshape.input[0], ()), sizes.get(reshape.output[0], ())
        if len(before) != 4 or len(after) != 3 or None in before[1:] or _axes(node, 3, constants) != [2]:
            continue
        if before[0] is not None or after[0] is not None or before[1] != after[1]:
            continue
        axes = f"{node.output[0]}.image_axes"
        set_tensor(graph, axes, np.array([2, 3], np.int64))
        del node.input[:]
        node.input.extend([reshape.input[0], axes])
        set_attributes(node, axes=None)
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
