"""CastLike → Cast: onnxruntime-training has no gradient for CastLike."""

from __future__ import annotations

import onnx

from export.graph import set_attributes


def replace_cast_like(model: onnx.ModelProto) -> int:
    """Turn every CastLike into a Cast; return how many.

    Requires value types that shape inference can tell. Ensures that no CastLike is left; one whose target type is
    unknown is taken as float32, the only floating type that export handles.
    """
    inferred = onnx.shape_inference.infer_shapes(model).graph
    kinds = {info.name: info.type.tensor_type.elem_type for info in (*inferred.input, *inferred.value_info)}
    kinds |= {tensor.name: tensor.data_type for tensor in inferred.initializer}
    changed = 0
    for node in model.graph.node:
        if node.op_type == "CastLike":
            target = kinds.get(node.input[1], 0) or onnx.TensorProto.FLOAT
            node.op_type = "Cast"
            del node.input[1]
            set_attributes(node, to=target)
            changed += 1
    return changed
