"""InstanceNormalization → arithmetic of each channel: onnxruntime-training has no gradient for it."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from export.graph import attributes, set_tensor, shapes


def spell_out_instance_norm(model: onnx.ModelProto) -> int:
    """Replace every InstanceNormalization by (x - mean) / sqrt(mean of its square + eps) · scale + shift; return how
    many.

    Requires that the dimensions of their inputs can be told. Ensures equal values, of numbers far from zero too.
    """
    graph = model.graph
    sizes = shapes(model)
    changed = 0
    for index, node in reversed(list(enumerate(graph.node))):
        if node.op_type != "InstanceNormalization" or node.domain not in ("", "ai.onnx"):
            continue
        source, scale, shift = node.input
        y = node.output[0]
        set_tensor(graph, f"{y}.epsilon", np.float32(attributes(node).get("epsilon", 1e-5)))
        set_tensor(graph, f"{y}.axes", np.arange(2, len(sizes[source]), dtype=np.int64))
        set_tensor(graph, f"{y}.beside", np.arange(1, len(sizes[source]) - 1, dtype=np.int64))
        steps = [
            ("ReduceMean", (source, f"{y}.axes"), f"{y}.mean"),
            ("Sub", (source, f"{y}.mean"), f"{y}.centred"),
            ("Mul", (f"{y}.centred", f"{y}.centred"), f"{y}.squared"),
            ("ReduceMean", (f"{y}.squared", f"{y}.axes"), f"{y}.variance"),
            ("Add", (f"{y}.variance", f"{y}.epsilon"), f"{y}.spread"),
            ("Sqrt", (f"{y}.spread",), f"{y}.deviation"),
            ("Div", (f"{y}.centred", f"{y}.deviation"), f"{y}.normalised"),
            ("Unsqueeze", (scale, f"{y}.beside"), f"{y}.scales"),
            ("Unsqueeze", (shift, f"{y}.beside"), f"{y}.shifts"),
            ("Mul", (f"{y}.normalised", f"{y}.scales"), f"{y}.scaled"),
            ("Add", (f"{y}.scaled", f"{y}.shifts"), y),
        ]
        made = [helper.make_node(kind, inputs, [output], output) for kind, inputs, output in steps]
        for one in made:
            one.metadata_props.extend(node.metadata_props)
        del graph.node[index]
        for place, one in enumerate(made, index):
            graph.node.insert(place, one)
        changed += 1
    return changed
