"""Reshape and Squeeze that keep the batch and join the rest → Flatten."""

from __future__ import annotations

from math import prod

import onnx

from export.graph import set_attributes, shapes


def restore_flatten(model: onnx.ModelProto) -> int:
    """Turn a Reshape or Squeeze from (n, ...) to (n, features) into Flatten(axis=1); return how many.

    Requires that all dimensions but the batch are known. Ensures that the target shape, and with it the arithmetic on
    the batch size, is not needed any more.
    """
    sizes = shapes(model)
    changed = 0
    for node in model.graph.node:
        if node.op_type not in ("Reshape", "Squeeze"):
            continue
        before, after = sizes.get(node.input[0], ()), sizes.get(node.output[0], ())
        if len(before) < 2 or before[0] is not None or None in before[1:] or len(after) != 2:
            continue
        if after[1] not in (None, prod(dim or 0 for dim in before[1:])):
            continue
        if after[1] is None and after[0] is not None:
            continue
        node.op_type = "Flatten"
        del node.input[1:]
        kept = {attribute.name: None for attribute in node.attribute}
        set_attributes(node, **{**kept, "axis": 1})
        changed += 1
    return changed
