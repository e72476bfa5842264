"""MatMul with a transposed parameter, and its bias, → Gemm, as torch.nn.Linear on (n, features) means it."""

from __future__ import annotations

import onnx
from onnx import helper

from export.graph import attributes, consumers, producers, shapes


def restore_linear(model: onnx.ModelProto) -> int:
    """Turn Transpose(weight) → MatMul (→ Add bias) into one Gemm(transB=1); return how many.

    Requires a two-dimensional input. Ensures that the weight keeps its own name and its (out, in) shape.
    """
    graph = model.graph
    sizes, makers, readers = shapes(model), producers(graph), consumers(graph)
    parameters = {tensor.name for tensor in graph.initializer}
    changed = 0
    for node in list(graph.node):
        if node.op_type != "MatMul" or len(sizes.get(node.input[0], ())) != 2:
            continue
        turn = makers.get(node.input[1])
        if turn is None or turn.op_type != "Transpose" or turn.input[0] not in parameters:
            continue
        if attributes(turn).get("perm", [1, 0]) != [1, 0]:
            continue
        inputs, output, replaced = [node.input[0], turn.input[0]], node.output[0], [node]
        after = readers.get(output, [])
        if len(after) == 1 and after[0].op_type == "Add":
            bias = next((name for name in after[0].input if name in parameters), None)
            if bias is not None and len(sizes[bias]) == 1:
                inputs, output = [*inputs, bias], after[0].output[0]
                replaced.append(after[0])
        gemm = helper.make_node("Gemm", inputs, [output], name=node.name, transB=1)
        gemm.metadata_props.extend(node.metadata_props)
        graph.node.insert(list(graph.node).index(replaced[-1]), gemm)
        for old in replaced:
            graph.node.remove(old)
        changed += 1
    return changed
