"""A Gather from all numbers of a value that reads them in their own order → nothing, as `as_strided` is exported."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from export.graph import attributes, producers, rename_input, shapes, tensors

BATCHES = (1, 3)  # images for which the order is looked at
MOST_NODES = 40


def remove_strided(model: onnx.ModelProto) -> int:
    """Leave out Reshape(x, [-1]) → Gather(computed places) where it gives x as it is; return how many.

    Requires known sizes. Ensures equal results. PyTorch's exporter writes it where an average pool's input has its
    channels last in memory, as behind ConvNeXt's blocks.
    """
    graph = model.graph
    sizes, makers = shapes(model), producers(graph)
    changed = 0
    for node in list(graph.node):
        flat = makers.get(node.input[0]) if node.op_type == "Gather" else None
        if flat is None or flat.op_type != "Reshape" or attributes(node).get("axis", 0) != 0:
            continue
        size, written = sizes.get(flat.input[0], ()), sizes.get(node.output[0])
        if not size or size != written or size[0] is not None or None in size[1:]:
            continue
        if len(sizes.get(flat.output[0], ())) != 1 or not _in_order(model, node.input[1], size[1:]):
            continue
        graph.node.remove(node)
        rename_input(graph, node.output[0], flat.input[0])
        changed += 1
    return changed


def _in_order(model: onnx.ModelProto, indices: str, size: tuple[int | None, ...]) -> bool:
    """True if computed places are 0, 1, 2 … for every number of images."""
    graph, makers, needed, nodes = model.graph, producers(model.graph), {indices}, list[onnx.NodeProto]()
    images, stored = graph.input[0].name, tensors(graph)
    for node in reversed(graph.node):
        if not needed.intersection(node.output):
            continue
        if len(nodes) == MOST_NODES:
            return False
        nodes.append(node)
        needed.update(node.input if node.op_type != "Shape" else ())
    counts = [node for node in nodes if node.op_type == "Shape"]
    plain = all(node.input[0] == images and attributes(node).get("end") == 1 for node in counts)
    if not counts or not plain or any(name not in makers and name not in stored for name in needed):
        return False
    rest = [node for node in reversed(nodes) if node.op_type != "Shape"]
    given = [helper.make_tensor_value_info(node.output[0], onnx.TensorProto.INT64, [1]) for node in counts]
    wanted = [helper.make_tensor_value_info(indices, onnx.TensorProto.INT64, None)]
    kept = [tensor for tensor in graph.initializer if tensor.name in needed]
    alone = helper.make_model(
        helper.make_graph(rest, "places", given, wanted, kept), opset_imports=list(model.opset_import)
    )
    for batch in BATCHES:
        shape = (batch, *(int(dim or 0) for dim in size))
        (found,) = ReferenceEvaluator(alone).run(None, {node.output[0]: np.array([batch]) for node in counts})
        if not np.array_equal(found, np.arange(np.prod(shape)).reshape(shape)):
            return False
    return True
