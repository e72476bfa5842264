"""Normalisation within each sample: group, instance and layer norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge.network.operators.fields import Integer, Number, holds
from edge.network.operators.operator import Operator
from edge.network.operators.roles import Role, RoleError, Vector
from edge.network.operators.shapes import Shape, ShapeError
from edge.weight.parameter import Parameter


@dataclass(frozen=True)
class Affine(Role):
    """One number a channel or one a cell, dense, or none at all."""

    bias = True
    optional: bool = True

    def check(self, role: str, parameter: Parameter, source: Shape, written: Shape) -> None:
        """As many as the value has channels, or of its shape."""
        if parameter.shape != written:
            Vector().check(role, parameter, source, written)
        elif parameter.format != "dense" or parameter.sparse:
            raise RoleError(f"its {role} {parameter.name!r} must be dense")
        super().check(role, parameter, source, written)


@dataclass(frozen=True)
class SampleNorm(Operator):
    """(x − μ)/√(σ² + ε) · scale + shift with mean and variance of each sample's own sets of cells."""

    scale: str | None = field(metadata=holds(Affine()))
    shift: str | None = field(metadata=holds(Affine()))
    epsilon: float = field(metadata=holds(Number(1e-30, 1e6)))

    @property
    def sets(self) -> int:
        """Groups of channels that are normalised each by itself; 0 where each position is."""
        return 0

    def trained_with_layer(self) -> tuple[str, ...]:
        """Scale and shift."""
        return tuple(self.parameters().values())

    def check_parameters(self, parameters: Mapping[str, Parameter], inputs: Sequence[Shape]) -> None:
        """As every operator's, and scale and shift are of one shape."""
        super().check_parameters(parameters, inputs)
        found = self.parameter_shapes(parameters)
        if len(set(found.values())) > 1:
            raise RoleError(f"its scale {list(found['scale'])} and shift {list(found['shift'])} differ in shape")


@dataclass(frozen=True)
class GroupNorm(SampleNorm):
    """Over each group of channels, all of their cells: one group a channel is instance norm, one group in all the
    layer norm of a whole sample, whose scale and shift may have a number for each cell."""

    op = "group_norm"
    groups: int = field(metadata=holds(Integer(1)))

    @property
    def sets(self) -> int:
        """The groups."""
        return self.groups

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """The input's shape."""
        if inputs[0][0] % self.groups:
            raise ShapeError(f"{inputs[0][0]} channels do not divide into {self.groups} groups")
        return inputs[0]


@dataclass(frozen=True)
class LayerNorm(SampleNorm):
    """Over all channels, at each position by itself."""

    op = "layer_norm"
