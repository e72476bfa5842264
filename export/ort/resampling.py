"""Resize and Pad → products with constant matrices: onnxruntime-training has no gradient for them on a CPU."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from edge.network import ShapeError
from edge.network.operators.taps import Taps
from export.graph import attributes, set_tensor, shapes, tensors
from export.operators.resampling import UseError, resample_of


def multiply_instead_of_resample(model: onnx.ModelProto) -> int:
    """Write every Resize, and every Pad with something else than zeros, as R · x · Cᵀ; return how many.

    Requires known sizes. Ensures equal values. What the native network has not either stays.
    """
    graph, sizes, constants = model.graph, shapes(model), tensors(model.graph)
    nodes: list[onnx.NodeProto] = []
    changed = 0
    for node in graph.node:
        nodes.append(node)
        if node.op_type != "Resize" and (
            node.op_type != "Pad" or attributes(node).get("mode", "constant") == "constant"
        ):
            continue
        before, after = (sizes.get(name, ()) for name in (node.input[0], node.output[0]))
        try:
            found = resample_of(node, before, after, constants)
        except (UseError, ShapeError):
            continue
        old = [1, *(int(size or 0) for size in before[2:])][-2:]
        nodes[-1:] = products(graph, node, node.input[0], node.output[0], found.taps(0, old[0]), found.taps(1, old[1]))
        changed += 1
    del graph.node[:]
    graph.node.extend(nodes)
    return changed


def products(
    graph: onnx.GraphProto, origin: onnx.NodeProto, source: str, output: str, rows: Taps, columns: Taps
) -> list[onnx.NodeProto]:
    """The nodes that make `output` of `source` by its columns and rows, without what changes nothing."""
    made: list[onnx.NodeProto] = []
    ways = [
        (name, taps, matrix)
        for name, taps in (("columns", columns), ("rows", rows))
        if (matrix := _matrix(taps)) is not None
    ]
    for number, (name, _, matrix) in enumerate(ways):
        last = number == len(ways) - 1
        written = output if last else f"{output}.{name}"
        stored = f"{output}.{name}.matrix"
        set_tensor(graph, stored, matrix.T if name == "columns" else matrix)
        inputs = [source, stored] if name == "columns" else [stored, source]
        made.append(helper.make_node("MatMul", inputs, [written], written))
        source = written
    if not made:
        made.append(helper.make_node("Identity", [source], [output], output))
    for node in made:
        node.metadata_props.extend(origin.metadata_props)
    return made


def _matrix(taps: Taps) -> np.ndarray | None:
    """The matrix of an axis, float32; None where each position stays what it is."""
    matrix = taps.matrix().astype(np.float32)
    return None if taps.count == taps.size and np.array_equal(matrix, np.eye(taps.size)) else matrix
