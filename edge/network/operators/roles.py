"""Roles that a parameter plays in an operator, and what each demands of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from edge.files.fields import Fields
from edge.network.operators.fields import Text
from edge.network.operators.shapes import Shape
from edge.weight.parameter import Parameter


class RoleError(ValueError):
    """A parameter cannot play its role."""


@dataclass(frozen=True)
class Role(Text):
    """A field with the name of a parameter, or null where `optional`; the field's own name is the role's."""

    bias: ClassVar[bool] = False  # True for what `--trainable bias` means: few numbers that shift or scale a value
    of_model: ClassVar[bool] = True  # False for what the source model has no parameter or buffer for

    def check(self, role: str, parameter: Parameter, source: Shape, written: Shape) -> None:
        """Raise RoleError unless the parameter can play the role between an input and what the operator writes."""
        if parameter.values.dtype != np.float32:
            raise RoleError(f"its {role} {parameter.name!r} is not float32")


@dataclass(frozen=True)
class Weight(Role):
    """The matrix or kernel of a layer, in any format."""


@dataclass(frozen=True)
class Vector(Role):
    """One number a channel, dense: added or multiplied."""

    bias: ClassVar[bool] = True

    def check(self, role: str, parameter: Parameter, source: Shape, written: Shape) -> None:
        """As many as the operator writes channels."""
        expected = written[:1]
        if parameter.shape != expected or parameter.format != "dense" or parameter.sparse:
            name, shape = parameter.name, list(parameter.shape)
            raise RoleError(f"its {role} {name!r} must be dense and of shape {list(expected)}, not {shape}")
        super().check(role, parameter, source, written)


@dataclass(frozen=True)
class Statistic(Vector):
    """One number a channel that training moves, but not by a gradient."""

    bias: ClassVar[bool] = False

    def check(self, role: str, parameter: Parameter, source: Shape, written: Shape) -> None:
        """As a vector, and not trainable."""
        super().check(role, parameter, source, written)
        if parameter.trainable:
            raise RoleError(f"its {role} {parameter.name!r} cannot be trainable")


@dataclass(frozen=True)
class Operand(Role):
    """A stored operand of arithmetic, dense, of any shape that fits; not stated where there is none."""

    bias: ClassVar[bool] = True

    def read(self, source: Fields, name: str) -> str | None:
        """The name, None where the field is left out."""
        return source.text(name) if source.has(name) else None

    def left_out(self, value: str | None) -> bool:
        """True where there is none."""
        return value is None

    def check(self, role: str, parameter: Parameter, source: Shape, written: Shape) -> None:
        """Dense numbers."""
        if parameter.format != "dense" or parameter.sparse:
            raise RoleError(f"its {role} {parameter.name!r} must be dense")
        super().check(role, parameter, source, written)


@dataclass(frozen=True)
class Constant(Operand):
    """A stored operand that is no parameter of the model: a number in its code, or a buffer."""

    bias: ClassVar[bool] = False
    of_model: ClassVar[bool] = False

    def check(self, role: str, parameter: Parameter, source: Shape, written: Shape) -> None:
        """As an operand, and not trainable."""
        super().check(role, parameter, source, written)
        if parameter.trainable:
            raise RoleError(f"its {role} {parameter.name!r} cannot be trainable")


@dataclass(frozen=True)
class IndexList(Role):
    """A dense list of places, int32, that is not trained; not stated where it is optional and not there."""

    of_model: ClassVar[bool] = False

    def read(self, source: Fields, name: str) -> str | None:
        """The name, None where an optional one is left out."""
        return source.text(name) if source.has(name) or not self.optional else None

    def left_out(self, value: str | None) -> bool:
        """True where there is none."""
        return value is None

    def check(self, role: str, parameter: Parameter, source: Shape, written: Shape) -> None:
        """Whole numbers."""
        if parameter.values.dtype != np.int32 or parameter.format != "dense" or parameter.trainable or parameter.sparse:
            raise RoleError(f"its {role} {parameter.name!r} must be a dense int32 list that is not trainable")


@dataclass(frozen=True)
class ChannelList(IndexList):
    """Different channels of the input."""

    def check(self, role: str, parameter: Parameter, source: Shape, written: Shape) -> None:
        """Each entry a channel and none twice."""
        super().check(role, parameter, source, written)
        check_different(role, parameter, source[0])


@dataclass(frozen=True)
class PositionList(IndexList):
    """Different positions of the input, counted row by row."""

    def check(self, role: str, parameter: Parameter, source: Shape, written: Shape) -> None:
        """Each entry a position and none twice."""
        super().check(role, parameter, source, written)
        check_different(role, parameter, prod(source[1:]))


def check_different(role: str, parameter: Parameter, count: int) -> None:
    """Raise RoleError unless the entries of a list are from 0 to `count` - 1 and none is there twice."""
    values, name = parameter.values, parameter.name
    if int(values.min()) < 0 or int(values.max()) >= count:
        raise RoleError(f"its {role} {name!r} are not all from 0 to {count - 1}")
    if not np.diff(np.sort(values)).all():
        raise RoleError(f"its {role} {name!r} list one twice")
