"""A Reshape that adds axes of one entry around a row of channels → Unsqueeze, which fits any batch and any number."""

from __future__ import annotations

import numpy as np
import onnx

from export.graph import set_attributes, set_tensor, shapes


def restore_unsqueeze(model: onnx.ModelProto) -> int:
    """Turn a Reshape from (n, c) to (n, c, 1, 1), or of a stored vector (c,) to (1, c, 1, 1), into Unsqueeze; how many.

    Requires a known number of channels. Ensures that the target shape is not needed any more: with it goes arithmetic
    on the batch, as the gates of squeeze-and-excitation write it, and channels may be taken away.
    """
    sizes = shapes(model)
    stored = {tensor.name for tensor in model.graph.initializer}
    changed = 0
    for node in model.graph.node:
        if node.op_type != "Reshape":
            continue
        before, after = sizes.get(node.input[0], ()), sizes.get(node.output[0], ())
        axes = _of_vector(before, after) if node.input[0] in stored else _of_row(before, after)
        if not axes:
            continue
        name = f"{node.output[0]}.axes"
        set_tensor(model.graph, name, np.array(axes, dtype=np.int64))
        node.op_type = "Unsqueeze"
        node.input[1] = name
        set_attributes(node, allowzero=None)
        changed += 1
    return changed


def _of_row(before: tuple[int | None, ...], after: tuple[int | None, ...]) -> list[int]:
    """The axes that (n, c) gets behind its channels; none where that is not what happens."""
    if len(before) != 2 or len(after) < 3 or before[1] is None:
        return []
    if before[0] is not None or after[0] is not None or after[1] != before[1] or set(after[2:]) != {1}:
        return []
    return list(range(2, len(after)))


def _of_vector(before: tuple[int | None, ...], after: tuple[int | None, ...]) -> list[int]:
    """The axes that (c,) gets on both sides."""
    if len(before) != 1 or len(after) < 2 or before[0] not in after:
        return []
    place = after.index(before[0])
    axes = [axis for axis in range(len(after)) if axis != place]
    return axes if all(after[axis] == 1 for axis in axes) else []
