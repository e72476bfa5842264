"""Products of two values and softmax: what attention is made of where no single step computes the form it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edge.network.operators.fields import Flag, holds
from edge.network.operators.operator import Operator
from edge.network.operators.shapes import Shape, ShapeError, image


@dataclass(frozen=True)
class MatMul(Operator):
    """A matrix product for each channel: `[c, m, k]` times `[c, k, n]`, of which either may be given turned."""

    op = "matmul"
    arity = 2
    first_turned: bool = field(default=False, metadata=holds(Flag(default=False)))
    second_turned: bool = field(default=False, metadata=holds(Flag(default=False)))

    def sizes(self, first: Shape, second: Shape) -> tuple[int, int, int, int]:
        """Channels, rows, numbers that are added up, and columns; raises ShapeError."""
        (channels, *left), (others, *right) = image(first), image(second)
        rows, inner = reversed(left) if self.first_turned else left
        depth, columns = reversed(right) if self.second_turned else right
        if (channels, inner) != (others, depth):
            raise ShapeError(f"matrices of {[channels, rows, inner]} and {[others, depth, columns]} have no product")
        return channels, rows, inner, columns

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """`(c, m, n)`."""
        channels, rows, _, columns = self.sizes(*inputs)
        return (channels, rows, columns)

    def multiply_accumulates(self, inputs: Sequence[Shape], weights: int) -> int:
        """Each row with each column."""
        channels, rows, inner, columns = self.sizes(*inputs)
        return channels * rows * inner * columns


@dataclass(frozen=True)
class Softmax(Operator):
    """exp(x) over its sum along each row: numbers along the width that add up to 1."""

    op = "softmax"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """`(c, h, w)`."""
        return image(inputs[0])
