"""Operators that arrange numbers and compute nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from edge.network.operators.fields import Integer, Integers, holds
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
    """The same numbers, in the order in which they lie, in so many channels of `height` rows.

    Without `channels` there are as many as before, and only their positions are arranged otherwise.
    """

    op = "reshape"
    is_view = True
    height: int = field(metadata=holds(Integer(1)))
    channels: int = field(default=0, metadata=holds(Integer(1, default=0)))

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """`(channels, height, width)`, of a vector `(c, 1, 1)`."""
        count, channels = prod(inputs[0]), self.channels or inputs[0][0]
        if count % channels:
            raise ShapeError(f"{count} numbers do not fill {channels} channels")
        if count // channels % self.height:
            raise ShapeError(f"{count // channels} positions do not fill {self.height} rows")
        return (channels, self.height, count // channels // self.height)

    @property
    def gradient_reads(self) -> None:
        """Nothing."""
        return None


@dataclass(frozen=True)
class Transpose(Operator):
    """The numbers seen as four axes, `view`, of which the middle two change places; in any shape that they fill."""

    op = "transpose"
    view: tuple[int, ...] = field(metadata=holds(Integers(1, count=4)))

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """The shape that the operator states."""
        if len(self.view) != 4 or not prod(inputs[0]) == prod(self.view) == prod(self.shape):
            raise ShapeError(f"numbers of {list(inputs[0])} cannot be seen as {list(self.view)} or {list(self.shape)}")
        return self.shape

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
