"""Gives LayerNormalization all three outputs, which its gradient reads."""

from __future__ import annotations

import onnx


def name_layer_norm_outputs(model: onnx.ModelProto) -> int:
    """Add the mean and inverse deviation outputs to LayerNormalization nodes that lack them; return how many nodes."""
    changed = 0
    for node in model.graph.node:
        if node.op_type == "LayerNormalization" and len(node.output) < 3:
            present = node.output[0]
            del node.output[1:]
            node.output.extend([f"{present}_mean", f"{present}_inverse_deviation"])
            changed += 1
    return changed
