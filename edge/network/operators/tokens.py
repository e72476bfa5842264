"""Tokens: positions in one row, of which some are stored ones and some are picked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from edge.network.operators.fields import Integer, holds
from edge.network.operators.operator import Operator
from edge.network.operators.roles import Operand, PositionList, RoleError
from edge.network.operators.shapes import Shape, ShapeError, image
from edge.weight.parameter import Parameter


@dataclass(frozen=True)
class StoredTokens(Operand):
    """Tokens that are a parameter: dense, `(k, c)` or `(1, k, c)`."""

    optional: bool = False


@dataclass(frozen=True)
class Prepend(Operator):
    """Stored tokens, such as a class token, in front of all positions: `(c, 1, k + h·w)`."""

    op = "prepend"
    tokens: str = field(metadata=holds(StoredTokens()))

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """`(c, 1, k + h·w)`."""
        channels, height, width = image(inputs[0])
        stored = parameters.get("tokens", ())
        if len(stored) not in (2, 3) or stored[-1] != channels or prod(stored[:-2]) != 1:
            raise ShapeError(f"stored tokens of shape {list(stored)} do not fit {channels} channels")
        return (channels, 1, stored[-2] + height * width)

    def check_parameters(self, parameters: Mapping[str, Parameter], inputs: Sequence[Shape]) -> None:
        """As every operator's, and there is a token."""
        super().check_parameters(parameters, inputs)
        if not parameters[self.tokens].size:
            raise RoleError(f"its tokens {self.tokens!r} are none")

    def biases(self, parameters: Mapping[str, Parameter]) -> set[str]:
        """One token, which shifts that position's features."""
        return {self.tokens} if parameters[self.tokens].size == self.shape[0] else set()

    def trained_with_layer(self) -> tuple[str, ...]:
        """The tokens."""
        return (self.tokens,)

    @property
    def gradient_reads(self) -> None:
        """Nothing."""
        return None


@dataclass(frozen=True)
class Positions(Operator):
    """`count` positions from `first` on, row by row: `(c, 1, count)`."""

    op = "positions"
    first: int = field(metadata=holds(Integer(0)))
    count: int = field(metadata=holds(Integer(1)))

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """`(c, 1, count)`."""
        channels, height, width = image(inputs[0])
        if self.first + self.count > height * width:
            raise ShapeError(f"positions {self.first} to {self.first + self.count} of {height * width}")
        return (channels, 1, self.count)

    @property
    def gradient_reads(self) -> None:
        """Nothing."""
        return None


@dataclass(frozen=True)
class SelectPositions(Operator):
    """The listed positions in that order, `(c, 1, listed)`: windows of an image, a cyclic shift, every second one."""

    op = "select_positions"
    listed: str = field(metadata=holds(PositionList()))

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """`(c, 1, listed)`."""
        channels, _, _ = image(inputs[0])
        listed = parameters.get("listed", ())
        if len(listed) != 1:
            raise ShapeError(f"a list of positions has one dimension, not {list(listed)}")
        return (channels, 1, listed[0])

    @property
    def gradient_reads(self) -> None:
        """Nothing."""
        return None
