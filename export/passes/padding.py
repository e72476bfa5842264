"""Zeros put around an image → padding of the convolution or the average that reads it."""

from __future__ import annotations

import numpy as np
import onnx

from export.graph import attributes, consumers, set_attributes, shapes, tensors


def pad_in_the_window(model: onnx.ModelProto) -> int:
    """Merge a Pad with zeros into the padding of the convolutions and average pools that read it; return how many.

    Requires stored, non-negative pads of height and width alone. Ensures equal values: an average that had no padding
    counts the zeros. Other readers keep the Pad.
    """
    graph = model.graph
    constants, sizes = tensors(graph), shapes(model)
    changed = 0
    for node in list(graph.node):
        pads = _pads(node, constants, len(sizes.get(node.input[0] if node.input else "", ())))
        if pads is None:
            continue
        for reader in consumers(graph).get(node.output[0], []):
            values = attributes(reader)
            own = list(values.get("pads", [0, 0, 0, 0]))
            automatic = values.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
            if reader.input[0] != node.output[0] or automatic or node.output[0] in list(reader.input)[1:]:
                continue
            if reader.op_type == "AveragePool" and not any(own) and not values.get("ceil_mode"):
                set_attributes(reader, pads=pads, count_include_pad=1)
            elif reader.op_type == "Conv" and len(own) == 4:
                set_attributes(reader, pads=[a + b for a, b in zip(own, pads, strict=True)], auto_pad=None)
            else:
                continue
            reader.input[0] = node.input[0]
            changed += 1
    return changed


def _pads(node: onnx.NodeProto, constants: dict[str, np.ndarray], rank: int) -> list[int] | None:
    """Top, left, bottom and right, where the node puts zeros around images and nothing else."""
    if node.op_type != "Pad" or rank != 4 or attributes(node).get("mode", "constant") != "constant":
        return None
    stored = constants.get(node.input[1])
    value = constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if stored is None or (len(node.input) > 2 and node.input[2] and (value is None or value.any())):
        return None
    axes = list(range(4))
    if len(node.input) > 3 and node.input[3]:
        listed = constants.get(node.input[3])
        if listed is None:
            return None
        axes = [int(axis) % 4 for axis in listed]
    pads = [0] * 8
    for place, axis in enumerate(axes):
        pads[axis], pads[axis + 4] = int(stored[place]), int(stored[place + len(axes)])
    if min(pads) < 0 or any(pads[axis] for axis in (0, 1, 4, 5)):
        return None
    return [pads[2], pads[3], pads[6], pads[7]]
