"""Batch norm that training leaves alone → arithmetic of each channel: the training graph knows no other kind."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from export.graph import attributes, is_frozen, set_tensor, shapes


def spell_out_frozen_norms(model: onnx.ModelProto) -> int:
    """Replace BatchNormalization nodes marked as frozen by (x - mean) * scale / sqrt(variance + eps) + shift; how many.

    Requires that the dimensions of their inputs can be told. Ensures equal values in both modes, running statistics
    that stay, and gradients of scale and shift.
    """
    graph = model.graph
    sizes = shapes(model)
    changed = 0
    for index, node in reversed(list(enumerate(graph.node))):
        if node.op_type != "BatchNormalization" or not is_frozen(node):
            continue
        source, scale, shift, mean, variance = node.input
        name = node.output[0]
        epsilon, axes = f"{name}.epsilon", f"{name}.axes"
        set_tensor(graph, epsilon, np.float32(attributes(node).get("epsilon", 1e-5)))
        set_tensor(graph, axes, np.arange(1, len(sizes[source]) - 1, dtype=np.int64))
        steps = [
            ("Add", (variance, epsilon), "spread"),
            ("Sqrt", (f"{name}.spread",), "deviation"),
            ("Div", (scale, f"{name}.deviation"), "factor"),
        ]
        vectors = {"factor": f"{name}.factor", "mean": mean, "shift": shift}
        if len(sizes[source]) > 2:
            steps += [("Unsqueeze", (vector, axes), f"{role}s") for role, vector in vectors.items()]
            vectors = {role: f"{name}.{role}s" for role in vectors}
        steps += [
            ("Sub", (source, vectors["mean"]), "centred"),
            ("Mul", (f"{name}.centred", vectors["factor"]), "scaled"),
        ]
        made = [helper.make_node(kind, reads, [f"{name}.{role}"], f"{name}.{role}") for kind, reads, role in steps]
        made.append(helper.make_node("Add", [f"{name}.scaled", vectors["shift"]], [name], name))
        graph.node.remove(node)
        for offset, new in enumerate(made):
            graph.node.insert(index + offset, new)
        changed += 1
    return changed
