"""Split and SplitToSequence → a Slice for each part: onnxruntime has a gradient for it, and every reader has Slice."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from export.graph import attributes, consumers, set_tensor, shapes, tensors


def slice_instead_of_split(model: onnx.ModelProto) -> int:
    """Replace the parts of a split, as `chunk`, `split` and `tensor_split` write it, by slices; return how many splits.

    Requires sizes that are stored or follow from a known dimension, and parts of a sequence that are picked by stored
    numbers alone. Ensures that shapes that were only known to be split are inferred anew.
    """
    graph = model.graph
    sizes, constants, readers = shapes(model), tensors(graph), consumers(graph)
    outputs = {output.name for output in graph.output}
    changed = 0
    for node in list(graph.node):
        if node.op_type not in ("Split", "SplitToSequence"):
            continue
        axis = int(attributes(node).get("axis", 0))
        size = sizes.get(node.input[0], ())
        length = size[axis] if -len(size) <= axis < len(size) else None
        parts = None if length is None else _lengths(node, length, constants)
        picked = None if parts is None else _picked(node, readers, constants, outputs, len(parts))
        if parts is None or picked is None:
            continue
        ends = np.cumsum(parts)
        place = list(graph.node).index(node)
        for number, (output, replaced) in enumerate(picked):
            index = number if replaced is None else int(constants[replaced.input[1]].reshape(-1)[0])
            first, end = int(ends[index] - parts[index]), int(ends[index])
            made = _slice(graph, node, output, first, end, axis % len(size))
            if replaced is not None:
                made.metadata_props.extend(replaced.metadata_props)
                graph.node.remove(replaced)
            graph.node.insert(place, made)
        graph.node.remove(node)
        changed += 1
    if changed:
        known = [info for info in graph.value_info if info.name not in _loose(graph)]
        del graph.value_info[:]
        graph.value_info.extend(known)
    return changed


def _lengths(node: onnx.NodeProto, length: int, constants: dict[str, np.ndarray]) -> list[int] | None:
    """How long the parts are; None where that is computed."""
    if len(node.input) > 1 and node.input[1]:
        given = constants.get(node.input[1])
        if given is None:
            return None
        if given.ndim:
            return [int(part) for part in given]
        each = int(given)
    elif node.op_type == "Split":
        each = -(-length // len(node.output))
    else:
        each = 1
    return [min(each, length - first) for first in range(0, length, each)]


def _picked(
    node: onnx.NodeProto,
    readers: dict[str, list[onnx.NodeProto]],
    constants: dict[str, np.ndarray],
    outputs: set[str],
    count: int,
) -> list[tuple[str, onnx.NodeProto | None]] | None:
    """The names of the parts, each with the node that picks it from a sequence; None where others read that."""
    if node.op_type == "Split":
        return [(output, None) for output in node.output]
    picks = readers.get(node.output[0], [])
    if node.output[0] in outputs or attributes(node).get("keepdims", 1) != 1:
        return None
    for pick in picks:
        stored = constants.get(pick.input[1]) if pick.op_type == "SequenceAt" else None
        if stored is None or not -count <= int(stored.reshape(-1)[0]) < count:
            return None
    return [(pick.output[0], pick) for pick in picks]


def _slice(
    graph: onnx.GraphProto, node: onnx.NodeProto, output: str, first: int, end: int, axis: int
) -> onnx.NodeProto:
    names = []
    for name, number in (("starts", first), ("ends", end), ("axes", axis)):
        names.append(f"{output}.{name}")
        set_tensor(graph, names[-1], np.array([number], np.int64))
    made = helper.make_node("Slice", [node.input[0], *names], [output], output)
    made.metadata_props.extend(node.metadata_props if node.op_type == "Split" else ())
    return made


def _loose(graph: onnx.GraphProto) -> set[str]:
    """Values whose recorded shape leaves open more than the batch."""
    return {
        info.name
        for info in graph.value_info
        if not info.type.HasField("tensor_type")
        or any(not dim.HasField("dim_value") for dim in list(info.type.tensor_type.shape.dim)[1:])
    }
