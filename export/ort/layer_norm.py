"""LayerNormalization without a shift → with one of zeros: its gradient in onnxruntime-training looks for one."""

from __future__ import annotations

import numpy as np
import onnx

from export.graph import set_tensor, shapes


def shift_layer_norms(model: onnx.ModelProto) -> int:
    """Give LayerNormalization nodes without a third input zeros; return how many.

    Requires a scale of known shape. Ensures equal values.
    """
    sizes = shapes(model)
    changed = 0
    for node in model.graph.node:
        if node.op_type != "LayerNormalization" or len(node.input) > 2:
            continue
        name = f"{node.output[0]}.shift"
        set_tensor(model.graph, name, np.zeros([int(size or 0) for size in sizes[node.input[1]]], np.float32))
        node.input.append(name)
        changed += 1
    return changed
