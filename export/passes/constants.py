"""Folds what does not depend on the images or on a parameter's values: shapes, Constant nodes, and what follows."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from export.graph import attributes, set_tensor, shapes, tensors

MAX_FOLDED_SIZE = 1 << 16  # elements; more than any shape or scalar needs


def fold_constants(model: onnx.ModelProto, parameters: set[str] | None = None) -> int:
    """Replace nodes of known result by initializers; return how many nodes were folded.

    Requires nothing. Ensures that no parameter is merged into another (batch norm stays itself), that the batch stays
    free, and that nothing larger than 65,536 elements is stored.
    """
    parameters = parameters or set()
    graph = model.graph
    known = {name: array for name, array in tensors(graph).items() if name not in parameters}
    sizes = shapes(model)
    outputs = {output.name for output in graph.output}
    folded = []
    for node in graph.node:
        if len(node.output) != 1 or node.output[0] in outputs or any(a.type == a.GRAPH for a in node.attribute):
            continue
        if node.op_type == "Shape":
            result = _static_shape(node, sizes)
        elif all(name in known for name in node.input if name):
            result = _evaluate(model, node, known)
        else:
            result = None
        if result is not None and result.size <= MAX_FOLDED_SIZE:
            known[node.output[0]] = result
            set_tensor(graph, node.output[0], result)
            folded.append(node)
    for node in folded:
        graph.node.remove(node)
    return len(folded)


def _static_shape(node: onnx.NodeProto, sizes: dict[str, tuple[int | None, ...]]) -> np.ndarray | None:
    values = attributes(node)
    size = sizes.get(node.input[0])
    if size is None:
        return None
    part = size[slice(values.get("start", 0), values.get("end"))]
    fixed = [dim for dim in part if dim is not None]
    return np.array(fixed, np.int64) if len(fixed) == len(part) else None


def _evaluate(model: onnx.ModelProto, node: onnx.NodeProto, known: dict[str, np.ndarray]) -> np.ndarray | None:
    if node.op_type == "Constant" and node.attribute[0].name == "value":
        return numpy_helper.to_array(node.attribute[0].t)
    alone = onnx.helper.make_model(
        onnx.helper.make_graph(
            [node],
            "one",
            [
                onnx.helper.make_tensor_value_info(
                    name, onnx.helper.np_dtype_to_tensor_dtype(known[name].dtype), known[name].shape
                )
                for name in dict.fromkeys(node.input)
                if name
            ],
            [onnx.helper.make_empty_tensor_value_info(node.output[0])],
        ),
        opset_imports=model.opset_import,
    )
    (result,) = ReferenceEvaluator(alone).run(None, {name: known[name] for name in node.input if name})
    return np.asarray(result)
