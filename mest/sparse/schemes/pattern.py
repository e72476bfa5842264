"""Pattern sparsity: 3×3 kernels keep 4 of 9 weights in one of 8 patterns, and whole kernels go, evenly by filter."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import torch
from torch import Tensor

from mest.sparse.schemes.scheme import Scheme, Shape, column_bytes, is_depthwise, register_scheme
from mest.sparse.select import best_balanced, fill_balanced

#: row-major cells that each pattern keeps; the position is the pattern's id in docs/network-format.md
KEPT_CELLS = (
    (4, 5, 7, 8),
    (3, 4, 6, 7),
    (1, 2, 4, 5),
    (0, 1, 3, 4),
    (5, 6, 7, 8),
    (3, 4, 5, 7),
    (1, 4, 5, 7),
    (1, 3, 4, 7),
)


@register_scheme
@dataclass(frozen=True)
class Pattern(Scheme):
    """The published `pattern+filter_balance`: units are 3×3 kernels, all filters keep as many, give or take one.

    A kernel's pattern is the one that leaves the largest L2 norm; then in every filter the kernels with the lowest
    norm go. A kept kernel keeps its pattern; a grown one gets a random pattern, or the one with the largest gradient
    where growth follows gradients.
    """

    name: ClassVar[str] = "pattern"
    takes_transposed: ClassVar[bool] = False
    densest: ClassVar[Fraction] = Fraction(5, 9)

    def problem(self, shape: Shape, groups: int = 1) -> str | None:
        """Only 3×3 kernels, and more than one per filter."""
        if len(shape) != 4 or shape[2:] != (3, 3):
            size = "×".join(map(str, shape[2:])) + " kernels" if len(shape) > 2 else "no kernels (a linear layer)"
            size = f"kernels of length {shape[2]}" if len(shape) == 3 else size
            return f"patterns are for 3×3 kernels and it has {size}; use scheme irregular or block for this layer"
        if is_depthwise(shape, groups):
            return "a depthwise filter has one kernel, so none can go; use scheme irregular for this layer"
        return None

    def grid(self, shape: Shape) -> Shape:
        """`(out, in)`."""
        return shape[:2]

    def unit_weights(self, shape: Shape) -> int:
        """Four of the nine."""
        return 4

    def unit_scores(self, score: Tensor) -> Tensor:
        """L2 norm over each kernel."""
        return score.flatten(2).square().sum(dim=2).sqrt_()

    def expand(self, units: Tensor, shape: Shape) -> Tensor:
        """All nine cells of the given kernels; a mask of patterns is narrowed by it, never widened."""
        return units[:, :, None, None].expand(shape).clone()

    def alive(self, mask: Tensor) -> Tensor:
        """Every pattern keeps the middle cell or the one to its right."""
        return mask[:, :, 1, 1] | mask[:, :, 1, 2]

    def open(self, score: Tensor) -> Tensor:
        """Every kernel with the pattern that leaves the largest L2 norm, the lowest id where equal."""
        return _cells_of(best_pattern(score), tuple(score.shape))

    def cells(self, units: Tensor, shape: Shape, generator: torch.Generator, gradient: Tensor | None) -> Tensor:
        """A pattern for each grown kernel: random, or by the gradient's largest norm."""
        if gradient is None:
            patterns = torch.randint(len(KEPT_CELLS), self.grid(shape), generator=generator).to(units.device)
        else:
            patterns = best_pattern(gradient)
        return _cells_of(patterns, shape) & self.expand(units, shape)

    def keep(self, scores: Tensor, alive: Tensor, count: int) -> Tensor:
        """As many of each filter, those that score highest."""
        return best_balanced(scores, alive, count)

    def grow(self, priority: Tensor, alive: Tensor, total: int) -> Tensor:
        """As many for each filter, those of highest priority."""
        return fill_balanced(priority, alive, total)

    def index_bytes(self, shape: Shape, kept: int) -> int:
        """A 32-bit start per filter, and per kernel its input channel and its pattern."""
        return 4 * (shape[0] + 1) + kept * (column_bytes(shape[1]) + 1)


def best_pattern(score: Tensor) -> Tensor:
    """Pattern ids `(out, in)`: for each 3×3 kernel the pattern that leaves the largest L2 norm."""
    cells = torch.tensor(KEPT_CELLS, device=score.device)
    return score.flatten(2).square()[..., cells].sum(-1).argmax(-1)


def _cells_of(patterns: Tensor, shape: Shape) -> Tensor:
    """Bool mask `(out, in, 3, 3)` of the cells that each kernel's pattern keeps."""
    cells = torch.tensor(KEPT_CELLS, device=patterns.device)
    table = torch.zeros(len(KEPT_CELLS), 9, dtype=torch.bool, device=patterns.device).scatter_(1, cells, True)
    return table[patterns].view(shape)
