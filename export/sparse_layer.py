"""A sparse layer as export sees it: the mask of its zeros and the compressed form chosen for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class SparseLayer:
    """One sparse weight. `mask` is bool with the weight's dense shape, True where a weight may be other than zero.

    `format` is the compressed form it is written in, `slots` the most units (weights, blocks or kernels) that a board
    may grow it to; 0 until both are chosen.
    """

    name: str
    scheme: str
    height: int | None
    target_sparsity: float
    mask: np.ndarray
    format: str = ""
    slots: int = 0

    def written_as(self, format: str, slots: int) -> SparseLayer:
        """The same layer with its form decided."""
        return replace(self, format=format, slots=slots)

    @property
    def sparsity(self) -> float:
        """Zeros ÷ weights."""
        return 1 - float(np.count_nonzero(self.mask)) / self.mask.size
