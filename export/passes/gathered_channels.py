"""Gathered channels → layers that read all channels with zeros in their weights: many converters get Gather wrong."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from export.graph import attributes, consumers, remove_unused, set_tensor, shapes, tensors
from export.operators.relation import CHANNELS


def fill_gathered_channels(model: onnx.ModelProto) -> int:
    """Remove every Gather that `compact` put in; return how many there were.

    A convolution or linear layer that reads the gathered channels alone gets zeros for the others; before any other
    reader a 1×1 convolution with a single 1 in each row picks them. Requires a compacted graph. Ensures equal results
    for finite values, and that weights with other readers stay as they are.
    """
    graph = model.graph
    sizes, constants, readers = shapes(model), tensors(graph), consumers(graph)
    outputs = {output.name for output in graph.output}
    changed = 0
    for place, node in reversed(list(enumerate(graph.node))):
        if node.op_type != "Gather" or attributes(node).get("axis", 0) != 1 or not node.input[1].endswith(CHANNELS):
            continue
        size, channels = sizes[node.input[0]], constants[node.input[1]]
        assert len(size) in (2, 3, 4)
        assert size[1] is not None
        read_by = readers.get(node.output[0], [])
        layer = read_by[0] if len(read_by) == 1 and node.output[0] not in outputs else None
        if layer is not None and _fillable(layer, node.output[0], constants, readers):
            weight = constants[layer.input[1]]
            filled = np.zeros((weight.shape[0], size[1], *weight.shape[2:]), weight.dtype)
            filled[:, channels] = weight
            set_tensor(graph, layer.input[1], filled)
            layer.input[0] = node.input[0]
            graph.node.remove(node)
        else:
            graph.node.remove(node)
            graph.node.insert(place, _picking(graph, node, channels, size[1], len(size)))
        changed += 1
    remove_unused(graph)
    return changed


def _fillable(
    layer: onnx.NodeProto, value: str, constants: dict[str, np.ndarray], readers: dict[str, list[onnx.NodeProto]]
) -> bool:
    """True for a plain layer on this value whose weight nobody else reads."""
    given = attributes(layer)
    plain = layer.op_type == "Conv" and given.get("group", 1) == 1
    plain = plain or (layer.op_type == "Gemm" and bool(given.get("transB")) and not given.get("transA"))
    if not plain or list(layer.input).count(value) != 1 or layer.input[0] != value:
        return False
    return layer.input[1] in constants and len(readers[layer.input[1]]) == 1


def _picking(
    graph: onnx.GraphProto, node: onnx.NodeProto, channels: np.ndarray, count: int, rank: int
) -> onnx.NodeProto:
    """A layer without bias that writes the listed channels."""
    name = f"{node.output[0]}.pick"
    rows = np.eye(count, dtype=np.float32)[channels]
    if rank > 2:
        cell = [1] * (rank - 2)
        set_tensor(graph, name, rows.reshape(*rows.shape, *cell))
        return helper.make_node("Conv", [node.input[0], name], [node.output[0]], node.name, kernel_shape=cell)
    set_tensor(graph, name, rows)
    return helper.make_node("Gemm", [node.input[0], name], [node.output[0]], node.name, transB=1)
