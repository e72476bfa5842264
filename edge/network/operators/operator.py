"""What every operator of the native network answers: its fields, parameters, shape rule and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

from edge.network.operators.fields import Integers, Text, Texts, holds, kind_of
from edge.network.operators.roles import Role
from edge.network.operators.shapes import Shape
from edge.weight.parameter import Parameter

Read = Literal["input", "output"]


@dataclass(frozen=True)
class Operator:
    """One step of the network. It writes one value, known by the operator's own name, of `shape` per sample.

    A field that names a parameter holds a `Role`; the field's name is the role's.
    """

    op: ClassVar[str]
    arity: ClassVar[int | None] = 1  # inputs that it takes; None: one or more
    foreign: ClassVar[bool] = False  # True if only onnxruntime computes it
    shares_parameters: ClassVar[bool] = False  # True if its parameters may play other roles elsewhere
    is_view: ClassVar[bool] = False  # True if what it writes is its input under another shape
    gradient_keeps_places: ClassVar[bool] = False  # True if its gradient needs, for each cell, which input it came from

    name: str = field(metadata=holds(Text()))
    inputs: tuple[str, ...] = field(metadata=holds(Texts()))
    shape: Shape = field(metadata=holds(Integers(1)))

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """The shape that follows from the inputs' shapes and the parameters' by role; raises ShapeError."""
        return inputs[0]

    def parameters(self) -> dict[str, str]:
        """Names of the parameters that are there, by role, in the order of the fields."""
        named = {role: getattr(self, role) for role in roles(type(self))}
        return {role: name for role, name in named.items() if name is not None}

    def parameter_shapes(self, parameters: Mapping[str, Parameter]) -> dict[str, Shape]:
        """The dense shapes of this operator's parameters, by role: what `output_shape` takes beside the inputs'."""
        return {role: parameters[name].shape for role, name in self.parameters().items()}

    def check_parameters(self, parameters: Mapping[str, Parameter], inputs: Sequence[Shape]) -> None:
        """Raise RoleError unless every parameter can play its role."""
        for role, name in self.parameters().items():
            self.role(role).check(role, parameters[name], inputs[0], self.shape)

    def role(self, role: str) -> Role:
        """What a role of this operator demands."""
        return roles(type(self))[role]

    def biases(self, parameters: Mapping[str, Parameter]) -> set[str]:
        """Names of its parameters that shift or scale a value: what training "bias" means."""
        return {name for role, name in self.parameters().items() if self.role(role).bias}

    @property
    def layer_weight(self) -> str | None:
        """Name of the matrix or kernel of a layer; None for an operator that is none."""
        return self.parameters().get("weight")

    def trained_with_layer(self) -> tuple[str, ...]:
        """Names of its parameters that belong to the layer whose value it reads, as those of a norm do."""
        return ()

    def uses_batch(self) -> bool:
        """True if training computes with statistics of the whole batch."""
        return False

    def has_spread(self, samples: int) -> bool:
        """True if so many samples are enough for the statistics of a batch."""
        return True

    @property
    def gradient_reads(self) -> Read | None:
        """What its gradient reads beside the gradient of its value: its inputs, its value, or neither."""
        return "input"

    def multiply_accumulates(self, inputs: Sequence[Shape], weights: int) -> int | None:
        """Multiply-accumulates of one sample with so many weights; None for an operator where they do not count."""
        return None

    def unfolded(self, weight: Shape) -> int:
        """Numbers a sample to which a general matrix product unfolds the input, as convolutions have them."""
        return 0


def roles(kind: type[Operator]) -> dict[str, Role]:
    """The roles of a kind of operator, in the order of its fields."""
    held: dict[str, Any] = {each.name: kind_of(each) for each in fields(kind)}
    return {name: role for name, role in held.items() if isinstance(role, Role)}
