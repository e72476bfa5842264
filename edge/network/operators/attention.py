"""Attention between the positions of a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

from edge.network.operators.fields import Integer, Number, holds
from edge.network.operators.operator import Operator
from edge.network.operators.shapes import Shape, ShapeError, image


@dataclass(frozen=True)
class Attention(Operator):
    """softmax(scale · q kᵀ) v for each head, over all positions.

    The channels of the input are those of the queries, head by head, then the keys' as many, then the values', which
    are `features`; the channels of the result, head by head.
    """

    op = "attention"
    heads: int = field(metadata=holds(Integer(1)))
    features: int = field(metadata=holds(Integer(1)))
    scale: float = field(metadata=holds(Number(-1e6, 1e6)))

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """`(features, h, w)`."""
        channels, height, width = image(inputs[0])
        keys = channels - self.features
        if keys < 1 or keys % (2 * self.heads) or self.features % self.heads:
            raise ShapeError(
                f"{channels} channels are not queries, keys and {self.features} values of {self.heads} heads"
            )
        return (self.features, height, width)

    def multiply_accumulates(self, inputs: Sequence[Shape], weights: int) -> int:
        """Each position with each, in all channels of queries and of values."""
        channels, *positions = inputs[0]
        return (channels + self.features) // 2 * prod(positions) ** 2
