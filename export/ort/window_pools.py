"""Pooling over windows → over images of height 1: on the gradient of the former onnxruntime-training crashes."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from export.graph import set_tensor, shapes
from export.passes.windows import ROW, window_over_row

POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool")


def pool_windows_as_images(model: onnx.ModelProto) -> int:
    """Put an Unsqueeze in front of every pooling of values (n, c, l) and a Squeeze behind it; return how many.

    Requires known numbers of dimensions. Ensures equal values.
    """
    graph = model.graph
    sizes = shapes(model)
    changed = 0
    for index, node in reversed(list(enumerate(graph.node))):
        if node.op_type not in POOLS or len(sizes.get(node.input[0], ())) != 3:
            continue
        output = node.output[0]
        window_over_row(node)
        axes, image, pooled = (f"{output}.{part}" for part in ("row", "image", "pooled"))
        set_tensor(graph, axes, np.array([ROW], np.int64))
        unsqueeze = helper.make_node("Unsqueeze", [node.input[0], axes], [image], image)
        squeeze = helper.make_node("Squeeze", [pooled, axes], [output], output)
        for made in (unsqueeze, squeeze):
            made.metadata_props.extend(node.metadata_props)
        node.input[0] = image
        node.output[0] = node.name = pooled
        graph.node.insert(index, unsqueeze)
        graph.node.insert(index + 2, squeeze)
        changed += 1
    return changed
