"""A sparse layer as export is given it: the shape of its zeros and where they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class SparseLayer:
    """One sparse weight. `mask` is bool with the weight's dense shape, True where a weight may be other than zero.

    `own` is the name of a scheme that no board knows: its zeros are stored as irregular ones and may not move there.
    """

    name: str
    scheme: str
    height: int | None
    target_sparsity: float
    mask: np.ndarray
    own: str | None = None

    @property
    def sparsity(self) -> float:
        """Zeros ÷ weights."""
        return 1 - float(np.count_nonzero(self.mask)) / self.mask.size
