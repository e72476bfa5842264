"""ConvTranspose → a convolution of the spread input: onnxruntime-training has no gradient for it on a CPU."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import helper

from edge.network.operators.taps import Taps
from export.graph import attributes, set_tensor, shapes
from export.ort.resampling import products
from export.passes.windows import ROW


def convolve_instead_of_transposing(model: onnx.ModelProto) -> int:
    """Replace every ConvTranspose by an ordinary convolution; return how many.

    Its input is spread with zeros between rows and columns by products with constant matrices, its weight turned around
    and its channels exchanged. Requires known sizes of images and windows, and stated padding. Ensures equal values.
    """
    graph, sizes = model.graph, shapes(model)
    nodes: list[onnx.NodeProto] = []
    changed = 0
    for node in graph.node:
        nodes.append(node)
        values = attributes(node)
        size, weight = (sizes.get(name, ()) for name in node.input[:2]) if node.op_type == "ConvTranspose" else ((), ())
        stated = values.get("auto_pad", "NOTSET") == "NOTSET" and "output_shape" not in values
        if len(size) not in (3, 4) or None in (*size[1:], *weight) or not stated:
            continue
        nodes[-1:] = _convolution(graph, node, [int(one or 0) for one in size[2:]], [int(one or 0) for one in weight])
        changed += 1
    del graph.node[:]
    graph.node.extend(nodes)
    return changed


def _convolution(
    graph: onnx.GraphProto, node: onnx.NodeProto, size: list[int], weight: list[int]
) -> list[onnx.NodeProto]:
    values, output, count = attributes(node), node.output[0], len(size)
    inner, outer, *kernel = weight
    ones, none = [1] * count, [0] * count
    strides, dilations = values.get("strides", ones), list(values.get("dilations", ones))
    pads, extra, groups = values.get("pads", none * 2), values.get("output_padding", none), values.get("group", 1)
    # What a convolution reads around the spread input, or where a number is below 0 does not read of it.
    reach = [dilations[axis] * (kernel[axis] - 1) for axis in range(count)]
    before = [reach[axis] - pads[axis] for axis in range(count)]
    after = [reach[axis] - pads[axis + count] + extra[axis] for axis in range(count)]
    taps = [_spread(size[axis], strides[axis], before[axis], after[axis]) for axis in range(count)]
    rows = taps[0] if count == 2 else _spread(1, 1, 0, 0)
    made = products(graph, node, node.input[0], f"{output}.spread", rows, taps[-1])
    # Windows become images of height 1: along windows themselves, the gradient of such a convolution left the loss at 0
    # for batches of some sizes.
    image = [1] * (2 - count)

    # Not `.weight`: that is the parameter's own name, where the node has its module's.
    grouped, turned, kernels = (f"{output}.kernels.{part}" for part in ("grouped", "turned", "exchanged"))
    set_tensor(graph, f"{grouped}.shape", np.array([groups, inner // groups, outer, prod(kernel)], np.int64))
    set_tensor(graph, f"{turned}.order", np.eye(prod(kernel), dtype=np.float32)[::-1])
    set_tensor(graph, f"{kernels}.shape", np.array([outer * groups, inner // groups, *image, *kernel], np.int64))
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Reshape", [node.input[1], f"{grouped}.shape"], grouped, {}),
        ("Transpose", [grouped], f"{grouped}.exchanged", {"perm": [0, 2, 1, 3]}),
        ("MatMul", [f"{grouped}.exchanged", f"{turned}.order"], turned, {}),
        ("Reshape", [turned, f"{kernels}.shape"], kernels, {}),
    ]
    spread, written = f"{output}.spread", output
    if image:
        spread, written = f"{output}.image", f"{output}.written"
        set_tensor(graph, f"{output}.row", np.array([ROW], np.int64))
        steps.append(("Unsqueeze", [f"{output}.spread", f"{output}.row"], spread, {}))
    numbers = {"kernel_shape": [*image, *kernel], "dilations": [*image, *dilations], "group": groups}
    steps.append(("Conv", [spread, kernels, *node.input[2:]], written, numbers))
    if image:
        steps.append(("Squeeze", [written, f"{output}.row"], output, {}))
    made += [helper.make_node(kind, inputs, [name], name, **values) for kind, inputs, name, values in steps]
    made[-1].metadata_props.extend(node.metadata_props)
    return made


def _spread(size: int, stride: int, before: int, after: int) -> Taps:
    """Every position `stride` from the next, and so many zeros around them; below 0: so many positions less."""
    places = np.arange(-before, (size - 1) * stride + 1 + after)
    there = (places % stride == 0) & (places >= 0) & (places <= (size - 1) * stride)
    return Taps.of(size, (places // stride)[:, None], there[:, None])
