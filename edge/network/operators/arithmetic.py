"""Arithmetic: a value with another, or with a stored tensor, each broadcast to the other's shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge.network.operators.fields import Flag, holds
from edge.network.operators.operator import Operator, Read
from edge.network.operators.roles import Constant, Operand
from edge.network.operators.shapes import Shape, ShapeError, aligned, broadcast, first_to_last, last_to_first
from edge.weight.parameter import Parameter


@dataclass(frozen=True)
class Arithmetic(Operator):
    """An operation of two operands: two inputs of as many dimensions, or one and a stored tensor.

    The tensor is a parameter of the model, `operand`, or a `constant`. Its shape is aligned with that of the values
    from the right, as NumPy does, with a dimension of 1 where the values have the batch. `stored_first`: it is the left
    one, as in 1 - x. `features_last`: its last dimension, not its first, is that of the channels, as beside tokens.
    """

    arity = None
    operand: str | None = field(default=None, metadata=holds(Operand()))
    constant: str | None = field(default=None, metadata=holds(Constant()))
    stored_first: bool = field(default=False, metadata=holds(Flag(default=False)))
    features_last: bool = field(default=False, metadata=holds(Flag(default=False)))

    @property
    def stored(self) -> str | None:
        """Name of the stored tensor; None between two values."""
        return self.operand or self.constant

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """The shape that both are broadcast to."""
        if len(inputs) + len(parameters) != 2:
            raise ShapeError(f"{self.op} takes two operands, not {len(inputs) + len(parameters)}")
        if (self.stored_first or self.features_last) and not parameters:
            raise ShapeError("between two values none is a stored one")
        first = inputs[0]
        (second,) = inputs[1:] or (self.beside(first, stored) for stored in parameters.values())
        if len(first) != len(second):
            raise ShapeError(f"{self.op} between shapes {list(first)} and {list(second)} of different rank")
        return broadcast(first, second)

    def beside(self, value: Shape, stored: Shape) -> Shape:
        """A stored tensor's shape among the dimensions of a value, channels first; raises ShapeError."""
        if not self.features_last:
            return aligned(stored, value)
        return last_to_first(aligned(stored, first_to_last(value)))

    def biases(self, parameters: Mapping[str, Parameter]) -> set[str]:
        """The operand, where it varies along one dimension at most: channels of images, features of tokens."""
        return {name for name in super().biases(parameters) if sum(n > 1 for n in parameters[name].shape) <= 1}

    def trained_with_layer(self) -> tuple[str, ...]:
        """The operand: layer scale and its like."""
        return () if self.operand is None else (self.operand,)


class Linearly(Arithmetic):
    """A sum or difference, whose gradient reads no value."""

    @property
    def gradient_reads(self) -> None:
        """Nothing."""
        return None


class Multiplying(Arithmetic):
    """A product or quotient: the gradient of one operand reads the other, that of a divisor itself too."""

    @property
    def gradient_reads(self) -> Read | None:
        """The inputs, but not beside a constant factor or divisor."""
        return None if self.constant is not None and not self.stored_first else "input"


@dataclass(frozen=True)
class Add(Linearly):
    """The sum."""

    op = "add"


@dataclass(frozen=True)
class Sub(Linearly):
    """The left one less the right one."""

    op = "sub"


@dataclass(frozen=True)
class Mul(Multiplying):
    """The product, as of a channel and its gate."""

    op = "mul"


@dataclass(frozen=True)
class Div(Multiplying):
    """The left one by the right one."""

    op = "div"


@dataclass(frozen=True)
class PRelu(Arithmetic):
    """The left one above 0, times the right one from there down (He et al., "Delving Deep into Rectifiers")."""

    op = "prelu"
