"""Clip(0, 6) → Relu and a clip from above: the gradient at exactly 0 is then 0, as in PyTorch."""

from __future__ import annotations

import onnx
from onnx import helper

from export.graph import tensors


def split_relu6(model: onnx.ModelProto) -> int:
    """Split every Clip from 0 to a constant into Relu and Min; return how many.

    Requires constant bounds. Ensures equal values. It matters for sparse networks: a filter without weights gives
    exactly 0 behind a fresh batch norm, where the gradient of Clip is 1 in onnxruntime-training.
    """
    graph = model.graph
    constants = tensors(graph)
    changed = 0
    for index, node in reversed(list(enumerate(graph.node))):
        if node.op_type != "Clip" or len(node.input) < 3:
            continue
        low, high = constants.get(node.input[1]), constants.get(node.input[2])
        if low is None or high is None or float(low.reshape(-1)[0]) != 0:
            continue
        below = f"{node.output[0]}.relu"
        relu = helper.make_node("Relu", [node.input[0]], [below], below)
        relu.metadata_props.extend(node.metadata_props)
        node.op_type = "Min"
        del node.input[:]
        node.input.extend([below, _high_name(graph, node.name or node.output[0], float(high.reshape(-1)[0]))])
        graph.node.insert(index, relu)
        changed += 1
    return changed


def _high_name(graph: onnx.GraphProto, place: str, value: float) -> str:
    name = f"{place}.high"
    graph.initializer.append(helper.make_tensor(name, onnx.TensorProto.FLOAT, [], [value]))
    return name
