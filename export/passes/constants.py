"""Folds what does not depend on the images or on a parameter's values: shapes, Constant nodes, and what follows."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from export.graph import attributes, set_tensor, shapes, tensors

Dims = tuple[int | None, ...] | None
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
    dims: dict[str, Dims] = {}
    folded = []
    for node in graph.node:
        if len(node.output) != 1 or node.output[0] in outputs or any(a.type == a.GRAPH for a in node.attribute):
            continue
        if node.op_type == "Shape":
            dims[node.output[0]] = _dims(node, sizes)
            result = _static(dims[node.output[0]])
        elif node.op_type in ("Gather", "Slice") and dims.get(node.input[0]) is not None:
            dims[node.output[0]] = _part(node, dims[node.input[0]], known)
            result = _static(dims[node.output[0]], scalar=node.op_type == "Gather" and known[node.input[1]].ndim == 0)
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


def _dims(node: onnx.NodeProto, sizes: dict[str, tuple[int | None, ...]]) -> Dims:
    """What a Shape gives, as far as it is known."""
    values, size = attributes(node), sizes.get(node.input[0])
    return None if size is None else size[slice(values.get("start", 0), values.get("end"))]


def _part(node: onnx.NodeProto, dims: Dims, known: dict[str, np.ndarray]) -> Dims:
    """Those of some dimensions that a Gather or Slice with stored numbers picks."""
    numbers = [known.get(name) for name in node.input[1:]]
    if dims is None or any(number is None for number in numbers):
        return None
    index, *more = (number for number in numbers if number is not None)
    if node.op_type == "Gather":
        return tuple(dims[int(at)] for at in index.reshape(-1) if -len(dims) <= at < len(dims))
    step = int(more[2].reshape(-1)[0]) if len(more) > 2 else 1
    return dims[slice(int(index.reshape(-1)[0]), int(more[0].reshape(-1)[0]), step)]


def _static(dims: Dims, scalar: bool = False) -> np.ndarray | None:
    """Dimensions as the tensor that they are, where all are known."""
    fixed = [dim for dim in dims or () if dim is not None]
    if dims is None or len(fixed) != len(dims):
        return None
    return np.array(fixed[0] if scalar else fixed, np.int64)


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
