"""Operators that arrange numbers and compute nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from edge.network.operators.fields import Integer, holds
from edge.network.operators.operator import Operator
from edge.network.operators.roles import ChannelList
from edge.network.operators.shapes import Shape, ShapeError


@dataclass(frozen=True)
class Flatten(Operator):
    """All of a sample in one row, `(c·h·w,)`."""

    op = "flatten"
    is_view = True

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """`(c·h·w,)`."""
        return (prod(inputs[0]),)

    @property
    def gradient_reads(self) -> None:
        """Nothing."""
        return None


@dataclass(frozen=True)
class Reshape(Operator):
    """The same positions, row by row, in `height` rows: `(c, height, h·w / height)`."""

    op = "reshape"
    is_view = True
    height: int = field(metadata=holds(Integer(1)))

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """`(c, height, width)`, of a vector `(c, 1, 1)`."""
        channels, *positions = inputs[0]
        if prod(positions) % self.height:
            raise ShapeError(f"{prod(positions)} positions do not fill {self.height} rows")
        return (channels, self.height, prod(positions) // self.height)

    @property
    def gradient_reads(self) -> None:
        """Nothing."""
        return None


@dataclass(frozen=True)
class Select(Operator):
    """The listed channels, in that order; `channels` names an int32 parameter `(kept,)`."""

    op = "select"
    channels: str = field(metadata=holds(ChannelList()))

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """`(kept, ...)`."""
        listed = parameters.get("channels", ())
        if len(listed) != 1:
            raise ShapeError(f"a channel list has one dimension, not {list(listed)}")
        return (listed[0], *inputs[0][1:])

    @property
    def gradient_reads(self) -> None:
        """Nothing."""
        return None
