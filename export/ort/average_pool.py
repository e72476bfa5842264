"""AveragePool → a convolution of each channel with a constant kernel, whose gradient fits a batch of any size."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from export.graph import attributes, set_attributes, set_tensor, shapes


def convolve_instead_of_pool(model: onnx.ModelProto) -> int:
    """Replace AveragePool nodes by depthwise convolutions; return how many.

    Requires known channel and image sizes and ceil_mode 0. Ensures equal values: where padding does not count, the sum
    is divided by the number of real pixels under each window.
    """
    graph = model.graph
    sizes = shapes(model)
    changed = 0
    for index, node in reversed(list(enumerate(graph.node))):
        values = attributes(node)
        if node.op_type != "AveragePool" or values.get("ceil_mode") or len(sizes[node.input[0]]) != 4:
            continue
        _, channels, height, width = sizes[node.input[0]]
        kernel = values["kernel_shape"]
        strides, pads = values.get("strides", [1, 1]), values.get("pads", [0, 0, 0, 0])
        output = node.output[0]
        counted = bool(values.get("count_include_pad", 0)) or not any(pads)
        weight = np.full((channels, 1, *kernel), 1 / np.prod(kernel) if counted else 1, np.float32)
        set_tensor(graph, f"{output}.kernel", weight)
        result = output if counted else f"{output}.sum"
        node.op_type = "Conv"
        node.input.append(f"{output}.kernel")
        node.output[0] = node.name = result
        set_attributes(node, **dict.fromkeys(values))
        set_attributes(node, kernel_shape=kernel, strides=strides, pads=pads, group=channels)
        if not counted:
            share = 1 / _real_pixels((height, width), kernel, strides, pads)
            set_tensor(graph, f"{output}.share", share[None, None].astype(np.float32))
            graph.node.insert(index + 1, helper.make_node("Mul", [result, f"{output}.share"], [output], output))
        changed += 1
    return changed


def _real_pixels(
    size: tuple[int | None, int | None], kernel: list[int], strides: list[int], pads: list[int]
) -> np.ndarray:
    """How many pixels of the image lie under each window, float64 (out_height, out_width)."""
    counts = []
    for axis, length in enumerate(size):
        real = np.pad(np.ones(length or 0), (pads[axis], pads[axis + 2]))
        starts = range(0, len(real) - kernel[axis] + 1, strides[axis])
        counts.append(np.array([real[start : start + kernel[axis]].sum() for start in starts]))
    return np.outer(counts[0], counts[1])
