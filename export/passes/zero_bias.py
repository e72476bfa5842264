"""Drops the zero bias that PyTorch's exporter gives a convolution without one."""

from __future__ import annotations

import onnx

from export.graph import tensors


def drop_zero_bias(model: onnx.ModelProto) -> int:
    """Remove the bias of convolutions where it is a zero that was made by the exporter; return how many.

    Requires folded constants. Ensures that the bias of a module stays, zero or not: those carry the module's name.
    """
    constants = tensors(model.graph)
    changed = 0
    for node in model.graph.node:
        if node.op_type not in ("Conv", "ConvTranspose") or len(node.input) < 3:
            continue
        bias = constants.get(node.input[2])
        if bias is not None and "." not in node.input[2] and not bias.any():
            del node.input[2]
            changed += 1
    return changed
