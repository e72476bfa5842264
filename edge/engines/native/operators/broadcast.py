"""Arithmetic of two operands that are broadcast to one another, of which one may be a stored tensor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import prod

from edge.engines.native.draft import image_of
from edge.engines.native.forward import Forward
from edge.engines.native.gradients import Backward
from edge.engines.native.model import Model
from edge.engines.native.node import Image, Node, Value
from edge.engines.native.operators.rule import Rule
from edge.engines.native.places import Places
from edge.engines.native.rows import NormSpec, Row
from edge.engines.native.slots import Slot, ViewSpec
from edge.engines.native.steps import Spec
from edge.libmest import program as structs
from edge.libmest.vocabulary import KINDS, LEFT, NEITHER, RIGHT
from edge.network import Arithmetic

# Of each kind: the sides that the gradient of the left operand reads, and that of the right one.
READS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "add": ((), ()),
    "sub": ((), ()),
    "mul": ((RIGHT,), (LEFT,)),
    "div": ((RIGHT,), (LEFT, RIGHT)),
    "prelu": ((LEFT, RIGHT), (LEFT,)),
}


@dataclass(frozen=True, slots=True)
class ArithmeticRow(Row):
    """Kind and shapes of an operation; `side` is the one whose gradient is wanted."""

    kind: str
    stored: str | None
    stored_side: int
    features_last: bool
    result: Image
    left: Image
    right: Image
    side: int = LEFT

    def made(self, places: Places) -> structs.Arithmetic:
        """The row of the table."""
        found = structs.Arithmetic(0, 0, KINDS.index(self.kind), self.stored_side, self.features_last, self.side)
        for name, image in {"": self.result, "left_": self.left, "right_": self.right}.items():
            for part, size in zip(("channels", "height", "width"), image, strict=True):
                setattr(found, name + part, size)
        if self.stored is not None:
            tensor = places.tensors[self.stored]
            found.stored = places.operands.array(tensor.values)
            found.stored_grad = places.operands.array(tensor.gradient)
        return found


class Broadcasting(Rule):
    """One step forward; one backward for each operand. An input of the result's shape may take over its gradient."""

    takes_activation = True
    adds_sums = True
    hands_on = True
    cheap = True

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def reads(self, node: Node, trained: frozenset[str]) -> Iterable[Node]:
        """The operands that the gradients of the other, or their own, are made of."""
        values = dict(_values(node))
        for side in (LEFT, RIGHT):
            if side in values or _operator(node).stored in trained:
                yield from (values[other].node.base for other in READS[self.kind][side] if other in values)

    def forward(self, forward: Forward, node: Node, out: Slot, label: str, norm: NormSpec | None) -> None:
        """One step."""
        left, right = _views(forward, node, (LEFT, RIGHT))
        rows = {"arithmetic": self._row(forward.model, node)}
        forward.steps.emit(
            Spec("arithmetic", label, node, left, right, out=out, norm=norm, rows=rows, numbers={"act": node.store_act})
        )

    def backward(self, backward: Backward, node: Node) -> None:
        """The stored tensor's gradient, then those of the inputs; the last may be written over the result's."""
        stored = _operator(node).stored
        if stored in backward.model.trained:
            self._stored_gradient(backward, node)
        wanted = [(side, value) for side, value in _values(node) if backward.wanted(value)]
        wanted.sort(key=lambda pair: _may_take_over(backward, node, pair[1]))
        for number, (side, value) in enumerate(wanted):
            last = number == len(wanted) - 1
            again = any(other.node is value.node for _, other in wanted[number + 1 :])
            if last and _may_take_over(backward, node, value):
                out, accumulate = backward.held[node], 0
                backward.held[value.node] = out
            else:
                out, accumulate = backward.target(value)
            complete = value.whole and not again
            sums, summed = backward.sums_on_the_way(value.node, out) if complete else (None, None)
            backward.steps.emit(
                Spec(
                    "arithmetic_grad",
                    f"{node.name} gradient to {value.node.name}",
                    node,
                    *_views(backward.forward, node, READS[self.kind][side]),
                    g=backward.grad(node),
                    sums=sums,
                    out=out,
                    sums_norm=summed,
                    rows={"arithmetic": replace(self._row(backward.model, node), side=side)},
                    numbers={"accumulate": accumulate},
                )
            )

    def _stored_gradient(self, backward: Backward, node: Node) -> None:
        row = self._row(backward.model, node)
        floats = 2 * prod(row.left if row.stored_side == LEFT else row.right)  # doubles
        name = f"{node.name} gradient of {row.stored}"
        backward.steps.emit(
            Spec(
                "stored_grad",
                name,
                node,
                *_views(backward.forward, node, READS[self.kind][row.stored_side]),
                g=backward.grad(node),
                rows={"arithmetic": row},
                scratch=backward.forward.scratch(f"{name} scratch", floats),
                scratch_floats=floats,
            )
        )

    def _row(self, model: Model, node: Node) -> ArithmeticRow:
        operator, images = _operator(node), {side: value.image for side, value in _values(node)}
        side = NEITHER
        if operator.stored is not None:
            side = LEFT if operator.stored_first else RIGHT
            images[side] = image_of(operator.beside(operator.shape, model.network.parameters[operator.stored].shape))
        shapes = node.image, images[LEFT], images[RIGHT]
        return ArithmeticRow(self.kind, operator.stored, side, operator.features_last, *shapes)


def _operator(node: Node) -> Arithmetic:
    assert isinstance(node.operator, Arithmetic)
    return node.operator


def _values(node: Node) -> Iterator[tuple[int, Value]]:
    """The inputs, each with its side."""
    first = RIGHT if _operator(node).stored_first else LEFT
    return iter(enumerate(node.inputs, first))


def _views(forward: Forward, node: Node, sides: tuple[int, ...]) -> tuple[ViewSpec | None, ViewSpec | None]:
    """How those values are read that lie on the sides: left and right."""
    values = dict(_values(node))
    left, right = (forward.value(values[side]) if side in sides and side in values else None for side in (LEFT, RIGHT))
    return left, right


def _may_take_over(backward: Backward, node: Node, value: Value) -> bool:
    """True if the value's gradient may be written over the result's: it has the same shape, and none so far."""
    return value.whole and value.image == node.image and value.node not in backward.held
