"""Whether numbers are finite: what an exploded network leaves behind is neither saved nor shown as an answer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge.errors import InputError

_PIECE = 1 << 16  # entries looked at together, so that little is held beside them


def not_finite(arrays: Mapping[str, np.ndarray]) -> str | None:
    """The name of the first array of floats that holds infinity or not-a-number; None if there is none."""
    for name, array in arrays.items():
        if array.dtype.kind == "f":
            flat = array.reshape(-1)
            for start in range(0, flat.size, _PIECE):
                if not np.isfinite(flat[start : start + _PIECE]).all():
                    return name
    return None


def refuse_not_finite(logits: np.ndarray, whose: str = "the network") -> None:
    """Raise InputError if an answer among logits `(n, classes)` is not finite: it would pass for a prediction."""
    wrong = rows_not_finite(logits)
    if wrong:
        raise InputError(
            f"{whose}: its answers to {wrong} of {len(logits)} images are not finite: too large a learning rate ruined "
            "the weights, or the images are not of the kind that it knows"
        )


def rows_not_finite(logits: np.ndarray) -> int:
    """The number of samples `(n, ...)` whose answer is not finite."""
    return int((~np.isfinite(logits)).reshape(len(logits), -1).any(axis=1).sum())
