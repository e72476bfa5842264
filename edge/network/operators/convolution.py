"""Layers: convolution and the linear layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from edge.network.operators.fields import PADDING, STEPS, Integer, Integers, holds
from edge.network.operators.operator import Operator
from edge.network.operators.roles import RoleError, Vector, Weight
from edge.network.operators.shapes import Padding, Pair, Shape, ShapeError, image, windows
from edge.weight.parameter import Parameter


@dataclass(frozen=True)
class Conv(Operator):
    """Cross-correlation as in PyTorch; weight `(out, in/groups, kh, kw)`."""

    op = "conv"
    weight: str = field(metadata=holds(Weight()))
    bias: str | None = field(metadata=holds(Vector(optional=True)))
    stride: Pair = field(metadata=holds(STEPS))
    padding: Padding = field(metadata=holds(PADDING))
    dilation: Pair = field(metadata=holds(STEPS))
    groups: int = field(metadata=holds(Integer(1)))

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """`(out, h, w)`."""
        channels, height, width = image(inputs[0])
        weight = parameters.get("weight", ())
        if len(weight) != 4:
            raise ShapeError(f"a convolution needs a weight (out, in/groups, kh, kw), not {list(weight)}")
        out, per_group = weight[:2]
        if channels != per_group * self.groups or out % self.groups:
            raise ShapeError(f"weight {list(weight)} in {self.groups} groups does not fit {channels} input channels")
        return (out, *windows((height, width), weight[2:], self.stride, self.padding, self.dilation))

    def check_parameters(self, parameters: Mapping[str, Parameter], inputs: Sequence[Shape]) -> None:
        """As every operator's, and no form of a weight reaches over groups."""
        super().check_parameters(parameters, inputs)
        weight, rows = parameters[self.weight], self.shape[0] // self.groups
        if self.groups > 1 and weight.format == "channel":
            raise RoleError("format channel needs a convolution without groups")
        if weight.format == "block" and rows % (weight.height or 1):
            raise RoleError(f"blocks of {weight.height} rows reach over groups of {rows}")

    def multiply_accumulates(self, inputs: Sequence[Shape], weights: int) -> int:
        """Every weight once a position."""
        return weights * prod(self.shape[1:])

    def unfolded(self, weight: Shape) -> int:
        """Every position's window, for all groups."""
        return prod(weight[1:]) * prod(self.shape[1:])


@dataclass(frozen=True)
class ConvTranspose(Operator):
    """What the gradient of a convolution's input is, as a layer; weight `(in, out/groups, kh, kw)`, as in PyTorch."""

    op = "conv_transpose"
    weight: str = field(metadata=holds(Weight()))
    bias: str | None = field(metadata=holds(Vector(optional=True)))
    stride: Pair = field(metadata=holds(STEPS))
    padding: Padding = field(metadata=holds(PADDING))
    output_padding: Pair = field(metadata=holds(Integers(0, 2)))
    dilation: Pair = field(metadata=holds(STEPS))
    groups: int = field(metadata=holds(Integer(1)))

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """`(out, h, w)` with h = (rows - 1) · stride + dilation · (kh - 1) + 1 + output_padding - top - bottom."""
        channels, *sizes = image(inputs[0])
        weight = parameters.get("weight", ())
        if len(weight) != 4:
            raise ShapeError(f"a transposed convolution needs a weight (in, out/groups, kh, kw), not {list(weight)}")
        if channels != weight[0] or channels % self.groups:
            raise ShapeError(f"weight {list(weight)} in {self.groups} groups does not fit {channels} input channels")
        found = [
            (size - 1) * self.stride[axis]
            + self.dilation[axis] * (weight[2 + axis] - 1)
            + (1 + self.output_padding[axis] - self.padding[axis] - self.padding[axis + 2])
            for axis, size in enumerate(sizes)
        ]
        if min(found) < 1:
            raise ShapeError(f"padding {list(self.padding)} leaves nothing")
        return (weight[1] * self.groups, *found)

    def check_parameters(self, parameters: Mapping[str, Parameter], inputs: Sequence[Shape]) -> None:
        """As every operator's; the rows of its weight, of which blocks are made, are input channels."""
        super().check_parameters(parameters, inputs)
        weight = parameters[self.weight]
        if weight.format == "channel":
            raise RoleError("format channel is not for transposed convolutions, which read all of their input")
        if weight.format == "block" and weight.rows // self.groups % (weight.height or 1):
            raise RoleError(f"blocks of {weight.height} rows reach over groups of {weight.rows // self.groups}")

    def multiply_accumulates(self, inputs: Sequence[Shape], weights: int) -> int:
        """Every weight once a position of the input."""
        return weights * prod(inputs[0][1:])

    def unfolded(self, weight: Shape) -> int:
        """Every position's window of the spread input, which an ordinary convolution reads."""
        return weight[0] * prod(weight[2:]) * prod(self.shape[1:])


@dataclass(frozen=True)
class Linear(Operator):
    """x · Wᵀ + b over the channels, at each position by itself; weight `(out, in)`."""

    op = "linear"
    weight: str = field(metadata=holds(Weight()))
    bias: str | None = field(metadata=holds(Vector(optional=True)))

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """`(out,)` of a vector, `(out, h, w)` of an image or of tokens."""
        weight, (channels, *positions) = parameters.get("weight", ()), inputs[0]
        if len(weight) != 2 or channels != weight[1] or len(positions) not in (0, 2):
            raise ShapeError(f"weight {list(weight)} does not fit an input of shape {list(inputs[0])}")
        return (weight[0], *positions)

    def multiply_accumulates(self, inputs: Sequence[Shape], weights: int) -> int:
        """Every weight once a position."""
        return weights * prod(self.shape[1:])
