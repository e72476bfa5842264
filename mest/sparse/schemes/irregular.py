"""Irregular sparsity: every weight is a unit of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mest.sparse.decimals import weights_of
from mest.sparse.schemes.scheme import Scheme, Shape, column_bytes, register_scheme


@register_scheme
@dataclass(frozen=True)
class Irregular(Scheme):
    """Single weights, the published `irregular`."""

    name: ClassVar[str] = "irregular"

    def grid(self, shape: Shape) -> Shape:
        """The weight's own shape."""
        return shape

    def unit_scores(self, score: Tensor) -> Tensor:
        """The scores themselves."""
        return score

    def expand(self, units: Tensor, shape: Shape) -> Tensor:
        """The units themselves."""
        return units

    def alive(self, mask: Tensor) -> Tensor:
        """The mask itself."""
        return mask

    def index_bytes(self, shape: Shape, kept: int) -> int:
        """CSR: a 32-bit start per row and one column index per weight."""
        return 4 * (shape[0] + 1) + kept * column_bytes(weights_of(shape[1:]))
