"""Channel sparsity: whole input channels of a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mest.sparse.schemes.scheme import Scheme, Shape, register_scheme


@register_scheme
@dataclass(frozen=True)
class Channel(Scheme):
    """Input channels of a convolution, input features of a linear layer: what no consumer reads can be removed.

    The published code names this scheme and does not have it. A channel's score is the L2 norm of its weights' scores.
    """

    name: ClassVar[str] = "channel"
    takes_transposed: ClassVar[bool] = False

    def problem(self, shape: Shape, groups: int = 1) -> str | None:
        """Every filter must read the same channels, so there are no groups."""
        if groups > 1:
            return f"filters of {groups} groups read different channels; use scheme irregular for this layer"
        return None

    def grid(self, shape: Shape) -> Shape:
        """`(in,)`."""
        return (shape[1],)

    def unit_scores(self, score: Tensor) -> Tensor:
        """L2 norm over all weights that read the channel."""
        return score.reshape(*score.shape[:2], -1).square().sum(dim=(0, 2)).sqrt_()

    def expand(self, units: Tensor, shape: Shape) -> Tensor:
        """The channel's decision for every filter and cell."""
        return units.view(1, -1, *[1] * (len(shape) - 2)).expand(shape).clone()

    def alive(self, mask: Tensor) -> Tensor:
        """Any weight that reads a channel tells of all."""
        return mask[0].reshape(mask.shape[1], -1)[:, 0]

    def index_bytes(self, shape: Shape, kept: int) -> int:
        """One 16-bit number per kept channel."""
        return 2 * kept
