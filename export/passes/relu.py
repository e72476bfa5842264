"""The larger of a value and 0 → Relu, and the smaller of that and 6 → Clip, as torch.clamp is exported."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from export.graph import consumers, producers, set_tensor, tensors


def restore_relu(model: onnx.ModelProto) -> int:
    """Turn Max(x, 0) into Relu and Min(Relu(x), 6) into Clip(0, 6); return how many.

    Requires folded constants. Ensures equal values; where x is exactly 0 the gradient is ReLU's, which is 0.
    """
    graph = model.graph
    constants = tensors(graph)
    changed = 0
    for node in graph.node:
        value = _other(node, "Max", 0.0, constants)
        if value is not None:
            node.op_type = "Relu"
            del node.input[:]
            node.input.append(value)
            changed += 1
    makers, readers = producers(graph), consumers(graph)
    for node in list(graph.node):
        value = _other(node, "Min", 6.0, constants)
        below = makers.get(value) if value is not None else None
        if below is None or below.op_type != "Relu" or len(readers[below.output[0]]) != 1:
            continue
        low, high = f"{node.output[0]}.low", f"{node.output[0]}.high"
        set_tensor(graph, low, np.float32(0))
        set_tensor(graph, high, np.float32(6))
        clip = helper.make_node("Clip", [below.input[0], low, high], [node.output[0]], name=node.name)
        clip.metadata_props.extend(node.metadata_props)
        graph.node.insert(list(graph.node).index(node), clip)
        graph.node.remove(node)
        graph.node.remove(below)
        changed += 1
    return changed


def _other(node: onnx.NodeProto, kind: str, bound: float, constants: dict[str, np.ndarray]) -> str | None:
    """The value that a node of this kind compares with one stored number, if that is the bound."""
    if node.op_type != kind or len(node.input) != 2:
        return None
    stored = [name for name in node.input if name in constants]
    values = [name for name in node.input if name not in constants]
    if len(stored) != 1 or constants[stored[0]].size != 1 or constants[stored[0]].ndim > 1:
        return None
    return values[0] if float(constants[stored[0]].reshape(-1)[0]) == bound else None
