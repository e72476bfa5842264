"""A Reshape that adds axes of one entry behind a row of channels → Unsqueeze, whose gradient fits any batch."""

from __future__ import annotations

import numpy as np
import onnx

from export.graph import set_attributes, set_tensor, shapes


def restore_unsqueeze(model: onnx.ModelProto) -> int:
    """Turn a Reshape from (n, c) to (n, c, 1, 1) into Unsqueeze; return how many.

    Requires a known number of channels. Ensures that the target shape, and with it arithmetic on the batch, is not
    needed any more: the gates of squeeze-and-excitation write it so.
    """
    sizes = shapes(model)
    changed = 0
    for node in model.graph.node:
        before, after = sizes.get(node.input[0] if node.input else "", ()), sizes.get(node.output[0], ())
        if node.op_type != "Reshape" or len(before) != 2 or len(after) < 3 or before[1] is None:
            continue
        if before[0] is not None or after[0] is not None or after[1] != before[1] or set(after[2:]) != {1}:
            continue
        name = f"{node.output[0]}.axes"
        set_tensor(model.graph, name, np.arange(2, len(after), dtype=np.int64))
        node.op_type = "Unsqueeze"
        node.input[1] = name
        set_attributes(node, allowzero=None)
        changed += 1
    return changed
