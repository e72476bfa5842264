"""What only onnxruntime computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge.network.operators.fields import Text, Texts, holds
from edge.network.operators.operator import Operator, Read
from edge.network.operators.roles import Role, Weight
from edge.network.operators.shapes import Shape
from edge.weight.parameter import Parameter

# What the gradient of an operator reads by its ONNX name, where it is not its inputs.
_OUTPUT = frozenset({"Softmax", "Sigmoid", "Tanh", "Exp", "Sqrt"})
_NOTHING = frozenset(
    {"Add", "Sub", "Neg", "Concat", "Expand", "Gather", "Reshape", "Slice", "Split", "Squeeze", "Transpose"}
    | {"Unsqueeze", "GlobalAveragePool", "ReduceMean"}
)


@dataclass(frozen=True)
class Foreign(Operator):
    """An operator that only onnxruntime computes, known by its place, its size and what it reads.

    A network that has one is no program for the engines of our own; planning, mutation and the way back need no more.
    `kind` is ONNX's name, `module` the path of the module that it came from (None: the model itself), `weight` the
    matrix or kernel of a layer, `reads` every other parameter.
    """

    op = "foreign"
    arity = None
    foreign = True
    shares_parameters = True
    kind: str = field(metadata=holds(Text()))
    module: str | None = field(metadata=holds(Text(optional=True)))
    weight: str | None = field(metadata=holds(Weight(optional=True)))
    reads: tuple[str, ...] = field(metadata=holds(Texts()))

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """The stated shape: nothing here knows what the operator computes."""
        return self.shape

    def parameters(self) -> dict[str, str]:
        """Parameter names: `weight`, and the others numbered."""
        return super().parameters() | {f"reads {number}": name for number, name in enumerate(self.reads)}

    def role(self, role: str) -> Role:
        """The weight's, and float32 of any shape for the others."""
        return super().role(role) if role == "weight" else _Other()

    def biases(self, parameters: Mapping[str, Parameter]) -> set[str]:
        """What it reads of one dimension."""
        return {name for name in self.reads if len(parameters[name].shape) == 1}

    def trained_with_layer(self) -> tuple[str, ...]:
        """All that it reads: the bias of a foreign layer is added by an operator of its own."""
        return self.reads

    @property
    def gradient_reads(self) -> Read | None:
        """By its ONNX name."""
        if self.kind in _NOTHING:
            return None
        return "output" if self.kind in _OUTPUT else "input"


class _Other(Role):
    def check(self, role: str, parameter: Parameter, source: Shape, written: Shape) -> None:
        """Float32."""
        super().check("parameter", parameter, source, written)
