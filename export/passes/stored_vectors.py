"""A stored vector that a model gives axes of one entry beside a value → the vector itself as an operand of arithmetic.

Not part of `normalise`: lowering alone reads what comes of it, in a copy of the graph.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from export.graph import attributes, producers, set_attributes, shapes, tensors
from export.operators.arithmetic import ARITHMETIC, FEATURES_LAST

CHANNEL_AXIS = 1


def read_stored_vectors(model: onnx.ModelProto) -> int:
    """Let arithmetic read (c,) instead of an Unsqueeze of it along the channels or the last axis; return how many.

    Requires a normalised graph. Ensures that the vector keeps its name and shape, as slopes of PReLU and layer scales
    are trained; a node that has it along the channels says so.
    """
    sizes, stored, makers = shapes(model), tensors(model.graph), producers(model.graph)
    changed = 0
    for node in model.graph.node:
        rank = len(sizes.get(node.output[0], ())) if node.op_type in ARITHMETIC else 0
        for index, name in enumerate(node.input if rank else ()):
            spread = makers.get(name)
            if spread is None or spread.op_type != "Unsqueeze" or spread.input[1] not in stored:
                continue
            vector = stored.get(spread.input[0])
            if vector is None or vector.ndim != 1:
                continue
            axis = rank - 1 if vector.size == 1 else _axis(stored[spread.input[1]], rank)
            if axis not in (CHANNEL_AXIS, rank - 1) or attributes(node).get(FEATURES_LAST):
                continue
            node.input[index] = spread.input[0]
            if axis != rank - 1:
                set_attributes(node, **{FEATURES_LAST: 1})
                _state_size(model.graph, node.output[0], sizes)
            changed += 1
    return changed


def _state_size(graph: onnx.GraphProto, name: str, sizes: dict[str, tuple[int | None, ...]]) -> None:
    """Say the size of a value, which inference cannot tell where an operand has its channels last."""
    size = ["images" if dim is None else dim for dim in sizes[name]]
    if all(info.name != name for info in (*graph.value_info, *graph.output)):
        graph.value_info.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, size))


def _axis(added: np.ndarray, rank: int) -> int:
    """Which axis of a value of `rank` dimensions a vector lies along that got these axes."""
    size = added.size + 1
    taken = {int(axis) % size for axis in added.reshape(-1)}
    (place,) = (axis for axis in range(size) if axis not in taken)
    return rank - size + place
