"""What an exporter changes without a word: a graph that computes something else than the model is refused by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx

from export.graph import attributes, module_of, shapes, tensors
from mest.errors import InputError


def refuse_changed(model: onnx.ModelProto) -> None:
    """Raise InputError for a graph that takes one number of images alone, or whose averages have another size."""
    sizes, constants = shapes(model), tensors(model.graph)
    if (images := sizes[model.graph.input[0].name][0]) is not None:
        fixing = [node for node in model.graph.node if node.op_type == "Reshape" and _first(constants, node) == images]
        place = (module_of(fixing[0]) if fixing else "") or "the model"
        raise InputError(
            f"the number of images is fixed in module {place}, as len(x) does; write x.flatten(1), or "
            "x.size(0) for the number of images"
        )
    for node in model.graph.node:
        read = sizes.get(node.input[0] if node.input else "", ())
        where = f"operator {node.op_type} in module {module_of(node) or 'the model'}"
        if node.op_type == "AveragePool" and attributes(node).get("ceil_mode") and None not in read[2:]:
            _refuse_other_size(where, attributes(node), [int(size or 0) for size in read[2:]])


def _first(constants: dict[str, np.ndarray], node: onnx.NodeProto) -> int | None:
    """The first entry of a stored target shape."""
    return int(constants[node.input[1]][0]) if node.input[1] in constants and constants[node.input[1]].size else None


def _refuse_other_size(where: str, values: dict[str, Any], sizes: list[int]) -> None:
    """ONNX counts a last window that starts in the padding behind the image; PyTorch leaves it out."""
    count = len(sizes)
    pads, strides = values.get("pads", [0] * 2 * count), values.get("strides", [1] * count)
    for axis, size in enumerate(sizes):
        room = size + pads[axis] + pads[axis + count] - values["kernel_shape"][axis]
        if -(-room // strides[axis]) * strides[axis] >= size + pads[axis]:
            raise InputError(
                f"{where}: with ceil_mode, a stride of {strides[axis]} and this padding its last window would lie "
                "outside the image, which ONNX keeps and PyTorch leaves out; use ceil_mode=False"
            )


def refuse_divisors(nodes: Iterable[Any]) -> None:
    """Raise InputError for an average pool with a divisor of its own, which the exporter drops; torch.fx nodes."""
    for node in nodes:
        if not str(node.target).startswith("aten.avg_pool"):
            continue
        divisor = node.args[6] if len(node.args) > 6 else node.kwargs.get("divisor_override")
        if divisor is not None:
            path = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values()]
            raise InputError(
                f"average pool in module {(path or [''])[-1] or 'the model'}: divisor_override={divisor} cannot be "
                "exported; use the mean, and a factor behind it"
            )
