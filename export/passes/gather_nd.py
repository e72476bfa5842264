"""GatherND of whole rows → Gather, which every engine reads: `table[:, index]` is exported that way."""

from __future__ import annotations

import numpy as np
import onnx

from export.graph import attributes, consumers, set_attributes, set_tensor, tensors


def gather_instead_of_gather_nd(model: onnx.ModelProto) -> int:
    """Replace every GatherND whose stored indices are single positions of the first axis; return how many.

    Requires no batch dimensions. Ensures equal values: indices of shape (..., 1) lose their last axis.
    """
    graph = model.graph
    constants, readers = tensors(graph), consumers(graph)
    changed = 0
    for node in graph.node:
        index = constants.get(node.input[1]) if node.op_type == "GatherND" else None
        if index is None or index.shape[-1] != 1 or attributes(node).get("batch_dims", 0):
            continue
        name = node.input[1] if len(readers[node.input[1]]) == 1 else f"{node.output[0]}.rows"
        set_tensor(graph, name, np.ascontiguousarray(index[..., 0]))
        node.op_type = "Gather"
        node.input[1] = name
        set_attributes(node, batch_dims=None, axis=0)
        changed += 1
    return changed
