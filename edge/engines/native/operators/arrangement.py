"""What only arranges values: another shape, some of the channels."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from edge.engines.native.draft import Draft, image_of
from edge.engines.native.forward import Forward
from edge.engines.native.gradients import Backward
from edge.engines.native.node import Node, Value
from edge.engines.native.operators.rule import Rule
from edge.engines.native.operators.stored import stored
from edge.engines.native.places import Places
from edge.engines.native.rows import NormSpec, Row
from edge.engines.native.slots import GradSpec, Slot
from edge.engines.native.steps import Spec
from edge.libmest import program as structs
from edge.network import Operator, Select
from edge.network.operators.arrangement import Transpose


class Flattening(Rule):
    """The same floats in another shape: channels are rows of the layout already."""

    def take_up(self, draft: Draft, operator: Operator, inputs: tuple[Value, ...]) -> Value:
        """The input's node; where it has more than one cell a channel its value must lie there as it is."""
        value = inputs[0]
        one_cell = prod(value.image[1:]) == 1
        return Value((value if one_cell else stored(draft, value, operator.name)).node, image_of(operator.shape))


@dataclass(frozen=True, slots=True)
class ExchangeRow(Row):
    """The four axes that the numbers are seen as."""

    view: tuple[int, int, int, int]

    def made(self, places: Places) -> structs.Exchange:
        """The row of the table."""
        return structs.Exchange(*self.view)


class Transposition(Rule):
    """Reads stored floats; the gradient goes the same way back."""

    pushes_in_place = True
    cheap = True

    def take_up(self, draft: Draft, operator: Operator, inputs: tuple[Value, ...]) -> Value:
        """A node that reads stored floats."""
        return super().take_up(draft, operator, (stored(draft, inputs[0], operator.name),))

    def forward(self, forward: Forward, node: Node, out: Slot, label: str, norm: NormSpec | None) -> None:
        """One step."""
        a, rows = forward.value(node.inputs[0]), {"exchange": ExchangeRow(_view(node))}
        forward.steps.emit(Spec("transpose", label, node, a=a, out=out, rows=rows))

    def backward(self, backward: Backward, node: Node) -> None:
        """One step, if the input's gradient is wanted."""
        value = node.inputs[0]
        if not backward.wanted(value):
            return
        gradient = backward.grad_in_place(node)
        out, accumulate = backward.target(value)
        outer, first, second, inner = _view(node)
        rows = {"exchange": ExchangeRow((outer, second, first, inner))}
        name, numbers = f"{node.name} gradient", {"accumulate": accumulate}
        backward.steps.emit(Spec("transpose_grad", name, node, g=gradient, out=out, rows=rows, numbers=numbers))


class Selection(Rule):
    """Some channels of the input, in some order, one perhaps twice."""

    pushes_in_place = True

    def forward(self, forward: Forward, node: Node, out: Slot, label: str, norm: NormSpec | None) -> None:
        """One step."""
        shape = GradSpec(None, node, node.image)
        a = forward.value(node.inputs[0])
        forward.steps.emit(Spec("select", label, node, a=a, g=shape, out=out, channels=_list(node)))

    def backward(self, backward: Backward, node: Node) -> None:
        """One step that adds to the channels listed, in a buffer of zeros if it is the first."""
        value = node.inputs[0]
        if not backward.wanted(value):
            return
        gradient = backward.grad_in_place(node)
        out, a = backward.zeroed_target(value), backward.forward.value(value)
        name = f"{node.name} gradient"
        backward.steps.emit(Spec("select_grad", name, node, a=a, g=gradient, out=out, channels=_list(node)))


def _view(node: Node) -> tuple[int, int, int, int]:
    assert isinstance(node.operator, Transpose)
    outer, first, second, inner = node.operator.view
    return outer, first, second, inner


def _list(node: Node) -> str:
    assert isinstance(node.operator, Select)
    return node.operator.channels
