"""Joining values."""

from __future__ import annotations

from dataclasses import dataclass

from edge.network.operators.operator import Operator
from edge.network.operators.shapes import Shape, ShapeError


@dataclass(frozen=True)
class Concat(Operator):
    """The channels of all inputs, one after the other; their other dimensions are the same."""

    op = "concat"
    arity = None

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """`(c1 + c2 + …, ...)`."""
        rest = inputs[0][1:]
        if any(shape[1:] != rest or len(shape) != len(inputs[0]) for shape in inputs):
            raise ShapeError(f"cannot join the channels of shapes {', '.join(str(list(shape)) for shape in inputs)}")
        return (sum(shape[0] for shape in inputs), *rest)

    @property
    def gradient_reads(self) -> None:
        """Nothing."""
        return None
