"""Stored tokens in front of positions, and positions picked: one step each way."""

from __future__ import annotations

from dataclasses import dataclass

from edge.engines.native.forward import Forward
from edge.engines.native.gradients import Backward
from edge.engines.native.node import Node
from edge.engines.native.operators.rule import Rule
from edge.engines.native.places import Places
from edge.engines.native.rows import NormSpec, Row
from edge.engines.native.slots import GradSpec, Slot
from edge.engines.native.steps import Spec
from edge.libmest import program as structs
from edge.network.operators.tokens import Positions, Prepend, SelectPositions


@dataclass(frozen=True, slots=True)
class TokensRow(Row):
    """The stored tokens, or which positions are picked."""

    stored: str | None
    first: int
    count: int

    def made(self, places: Places) -> structs.Tokens:
        """The row of the table."""
        found = structs.Tokens(first=self.first, count=self.count)
        if self.stored is not None:
            tensor, array = places.tensors[self.stored], places.operands.array
            found.stored, found.stored_grad = array(tensor.values), array(tensor.gradient)
        return found


class Prepending(Rule):
    """The gradient of the tokens is summed over the samples."""

    pushes_in_place = True

    def forward(self, forward: Forward, node: Node, out: Slot, label: str, norm: NormSpec | None) -> None:
        """One step."""
        a = forward.value(node.inputs[0])
        forward.steps.emit(Spec("prepend", label, node, a=a, out=out, rows={"tokens": _stored_tokens(node)}))

    def backward(self, backward: Backward, node: Node) -> None:
        """One step for what is wanted of input and tokens."""
        value, row = node.inputs[0], _stored_tokens(node)
        input_grad = backward.wanted(value)
        if not input_grad and row.stored not in backward.model.trained:
            return
        gradient = backward.grad_in_place(node)
        out, accumulate = backward.target(value) if input_grad else (None, 0)
        numbers = {"accumulate": accumulate, "input_grad": int(input_grad)}
        name = f"{node.name} gradient"
        shape = GradSpec(None, value.node, value.image)
        backward.steps.emit(
            Spec("prepend_grad", name, node, g=gradient, sums=shape, out=out, rows={"tokens": row}, numbers=numbers)
        )


class Picking(Rule):
    """Some positions of the input."""

    pushes_in_place = True

    def forward(self, forward: Forward, node: Node, out: Slot, label: str, norm: NormSpec | None) -> None:
        """One step."""
        a = forward.value(node.inputs[0])
        forward.steps.emit(Spec("positions", label, node, a=a, out=out, rows={"tokens": _picked(node)}))

    def backward(self, backward: Backward, node: Node) -> None:
        """One step that adds to the positions that were picked; the others get nothing."""
        value = node.inputs[0]
        if not backward.wanted(value):
            return
        gradient = backward.grad_in_place(node)
        out, accumulate = backward.target(value)
        name, shape = f"{node.name} gradient", GradSpec(None, value.node, value.image)
        rows, numbers = {"tokens": _picked(node)}, {"accumulate": accumulate}
        backward.steps.emit(
            Spec("positions_grad", name, node, g=gradient, sums=shape, out=out, rows=rows, numbers=numbers)
        )


class Listing(Rule):
    """Listed positions of the input, each once."""

    pushes_in_place = True

    def forward(self, forward: Forward, node: Node, out: Slot, label: str, norm: NormSpec | None) -> None:
        """One step."""
        a, shape = forward.value(node.inputs[0]), GradSpec(None, node, node.image)
        forward.steps.emit(Spec("select_positions", label, node, a=a, g=shape, out=out, channels=_listed(node)))

    def backward(self, backward: Backward, node: Node) -> None:
        """One step that adds to the positions listed; the others get nothing."""
        value = node.inputs[0]
        if not backward.wanted(value):
            return
        gradient = backward.grad_in_place(node)
        out, accumulate = backward.target(value)
        name, shape = f"{node.name} gradient", GradSpec(None, value.node, value.image)
        lists, numbers = _listed(node), {"accumulate": accumulate}
        backward.steps.emit(
            Spec("select_positions_grad", name, node, g=gradient, sums=shape, out=out, channels=lists, numbers=numbers)
        )


def _listed(node: Node) -> str:
    assert isinstance(node.operator, SelectPositions)
    return node.operator.listed


def _stored_tokens(node: Node) -> TokensRow:
    assert isinstance(node.operator, Prepend)
    _, height, width = node.inputs[0].image
    return TokensRow(node.operator.tokens, 0, node.image[2] - height * width)


def _picked(node: Node) -> TokensRow:
    assert isinstance(node.operator, Positions)
    return TokensRow(None, node.operator.first, node.operator.count)
