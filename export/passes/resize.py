"""A Resize to sizes that are computed of its input's → one to stored sizes of height and width alone."""

from __future__ import annotations

import numpy as np
import onnx

from export.graph import attributes, set_attributes, set_tensor, shapes


def store_resize_sizes(model: onnx.ModelProto) -> int:
    """State the sizes behind the channels of every Resize that is given sizes; return how many.

    Requires known sizes, and as many channels behind as before it. Ensures equal values, and that the number of
    channels may change: PyTorch's exporter writes it into the sizes.
    """
    graph, sizes = model.graph, shapes(model)
    changed = 0
    for node in graph.node:
        if node.op_type != "Resize" or len(node.input) < 4 or not node.input[3] or "axes" in attributes(node):
            continue
        before, after = (sizes.get(name, ()) for name in (node.input[0], node.output[0]))
        if len(before) not in (3, 4) or len(after) != len(before) or None in after[1:] or before[1] != after[1]:
            continue
        node.input[3] = f"{node.output[0]}.sizes"
        set_tensor(graph, node.input[3], np.array(after[2:], np.int64))
        set_attributes(node, axes=list(range(2, len(after))))
        changed += 1
    return changed
