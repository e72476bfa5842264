"""Attention between the positions of a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from edge.network.operators.fields import Integer, Number, holds
from edge.network.operators.operator import Operator
from edge.network.operators.roles import Constant, IndexList, Operand, RoleError
from edge.network.operators.shapes import Shape, ShapeError, image
from edge.weight.parameter import Parameter


@dataclass(frozen=True)
class ScoreBias(Operand):
    """Numbers beside scores: a parameter of any shape, dense."""

    bias = False  # as many as there are places to look at, not a few that shift a value


@dataclass(frozen=True)
class Attention(Operator):
    """softmax(scale · q kᵀ + bias[places] + mask) v for each head, within each window of positions.

    The channels of the input are those of the queries, head by head, then the keys' as many, then the values', which
    are `features`; the channels of the result, head by head. The positions are cut into `windows` of L that follow one
    another. `places` (heads, L, L) says for each score which number of `bias`, counted row by row, is added to it;
    `mask` (1 or windows, L, L) is added to those of every head.
    """

    op = "attention"
    heads: int = field(metadata=holds(Integer(1)))
    features: int = field(metadata=holds(Integer(1)))
    scale: float = field(metadata=holds(Number(-1e6, 1e6)))
    windows: int = field(default=1, metadata=holds(Integer(1, default=1)))
    bias: str | None = field(default=None, metadata=holds(ScoreBias()))
    places: str | None = field(default=None, metadata=holds(IndexList(optional=True)))
    mask: str | None = field(default=None, metadata=holds(Constant()))

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """`(features, h, w)`."""
        channels, height, width = image(inputs[0])
        keys = channels - self.features
        if keys < 1 or keys % (2 * self.heads) or self.features % self.heads:
            raise ShapeError(
                f"{channels} channels are not queries, keys and {self.features} values of {self.heads} heads"
            )
        if height * width % self.windows:
            raise ShapeError(f"{height * width} positions do not divide into {self.windows} windows")
        length = height * width // self.windows
        places, mask = parameters.get("places"), parameters.get("mask")
        if (self.bias is None) != (self.places is None) or (places and places != (self.heads, length, length)):
            raise ShapeError(f"a bias needs places of shape {[self.heads, length, length]}, not {list(places or ())}")
        if mask and mask not in ((1, length, length), (self.windows, length, length)):
            raise ShapeError(f"a mask of shape {list(mask)} does not fit {self.windows} windows of {length} positions")
        return (self.features, height, width)

    def check_parameters(self, parameters: Mapping[str, Parameter], inputs: Sequence[Shape]) -> None:
        """As every operator's, and all places are numbers of the bias."""
        super().check_parameters(parameters, inputs)
        if self.bias is None or self.places is None:
            return
        listed, count = parameters[self.places].values, parameters[self.bias].size
        if int(listed.min()) < 0 or int(listed.max()) >= count:
            raise RoleError(f"its places {self.places!r} are not all from 0 to {count - 1}")

    def trained_with_layer(self) -> tuple[str, ...]:
        """The bias."""
        return () if self.bias is None else (self.bias,)

    def multiply_accumulates(self, inputs: Sequence[Shape], weights: int) -> int:
        """Each position with each of its window, in all channels of queries and of values."""
        channels, *positions = inputs[0]
        return (channels + self.features) // 2 * prod(positions) ** 2 // self.windows
