"""MaxPool with ceil_mode → explicit padding at the end, which the training kernels handle."""

from __future__ import annotations

import onnx

from export.graph import attributes, set_attributes, shapes


def pad_instead_of_ceil(model: onnx.ModelProto) -> int:
    """Replace ceil_mode of MaxPool by padding at the end of each axis; return how many.

    Requires known input shapes. Ensures PyTorch's output size (a window starts inside the image or its leading
    padding); padding never wins a maximum, so values are equal.
    """
    sizes = shapes(model)
    changed = 0
    for node in model.graph.node:
        values = attributes(node)
        if node.op_type != "MaxPool" or not values.get("ceil_mode"):
            continue
        kernel = values["kernel_shape"]
        strides, dilations = values.get("strides", [1, 1]), values.get("dilations", [1, 1])
        size = sizes[node.input[0]][2:]
        pads = list(values.get("pads", [0] * 2 * len(size)))
        for axis, length in enumerate(size):
            if length is None:
                break
            span = dilations[axis] * (kernel[axis] - 1) + 1
            room = length + pads[axis] + pads[axis + len(size)] - span
            count = -(-room // strides[axis]) + 1
            if (count - 1) * strides[axis] >= length + pads[axis]:
                count -= 1
            pads[axis + len(size)] = max(0, (count - 1) * strides[axis] + span - length - pads[axis])
        else:
            set_attributes(node, pads=pads, ceil_mode=0)
            changed += 1
    return changed
