"""Reductions, squeezes and unsqueezes that a model writes axis by axis → one for all of its axes."""

from __future__ import annotations

import numpy as np
import onnx

from export.graph import attributes, consumers, set_attributes, set_tensor, shapes, tensors

REDUCTIONS = ("ReduceMean", "ReduceMax", "ReduceSum")
KINDS = (*REDUCTIONS, "Squeeze", "Unsqueeze")


def join_steps(model: onnx.ModelProto) -> int:
    """Merge a reduction, Squeeze or Unsqueeze into the one of its kind after it; return how many went.

    Requires stored axes and known ranks; an index 0 into an axis of one entry is a Squeeze. Ensures equal values: the
    axes of a second reduction are counted as the first one's input has them, those of a first Unsqueeze as the second
    one's output has them. Both reductions must keep their axes, or both drop them.
    """
    graph = model.graph
    changed = _squeeze_indices(model)
    sizes = shapes(model)
    for first in list(graph.node):
        readers = consumers(graph).get(first.output[0], []) if first.op_type in KINDS else []
        if len(readers) != 1 or readers[0].op_type != first.op_type or first.output[0] == graph.output[0].name:
            continue
        second = readers[0]
        joined = _joined(graph, first, second, sizes)
        if joined is None:
            continue
        second.input[0] = first.input[0]
        name = f"{second.output[0]}.axes"
        set_tensor(graph, name, np.array(joined, np.int64))
        del second.input[1:]
        second.input.append(name)
        set_attributes(second, axes=None)
        graph.node.remove(first)
        changed += 1
    return changed


def _joined(
    graph: onnx.GraphProto, first: onnx.NodeProto, second: onnx.NodeProto, sizes: dict[str, tuple[int | None, ...]]
) -> list[int] | None:
    """The axes of both nodes as those of one; None where they are not known or cannot be joined."""
    if first.op_type == "Unsqueeze":
        ours, theirs = (_axes(graph, node, len(sizes.get(node.output[0], ()))) for node in (first, second))
        if ours is None or theirs is None:
            return None
        left = [axis for axis in range(len(sizes[second.output[0]])) if axis not in theirs]
        return sorted({*theirs, *(left[axis] for axis in ours)})
    rank = len(sizes.get(first.input[0], ()))
    ours, theirs = _axes(graph, first, rank), _axes(graph, second, len(sizes.get(first.output[0], ())))
    keeps = [attributes(node).get("keepdims", 1) if node.op_type in REDUCTIONS else 0 for node in (first, second)]
    if not rank or ours is None or theirs is None or keeps[0] != keeps[1]:
        return None
    left = list(range(rank)) if keeps[0] else [axis for axis in range(rank) if axis not in ours]
    return sorted({*ours, *(left[axis] for axis in theirs)})


def _axes(graph: onnx.GraphProto, node: onnx.NodeProto, rank: int) -> list[int] | None:
    """The axes that a node takes, from 0; None where they are not stored."""
    stored = tensors(graph).get(node.input[1]) if len(node.input) > 1 else attributes(node).get("axes")
    return None if stored is None or not rank else sorted(int(axis) % rank for axis in np.atleast_1d(stored))


def _squeeze_indices(model: onnx.ModelProto) -> int:
    """Index 0 into an axis of one entry → Squeeze; how many."""
    graph = model.graph
    sizes, constants = shapes(model), tensors(graph)
    changed = 0
    for node in graph.node:
        if node.op_type != "Gather":
            continue
        index, axis = constants.get(node.input[1]), int(attributes(node).get("axis", 0))
        size = sizes.get(node.input[0], ())
        if index is None or index.ndim or int(index) not in (0, -1):
            continue
        if not size or size[axis] != 1 or axis % len(size) == 0:
            continue
        node.op_type = "Squeeze"
        name = f"{node.output[0]}.axes"
        set_tensor(graph, name, np.array([axis], np.int64))
        node.input[1] = name
        set_attributes(node, axis=None)
        changed += 1
    return changed
