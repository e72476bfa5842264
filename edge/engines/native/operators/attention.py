"""Attention: one step each way. The weights between positions are computed again in the backward step, row by row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge.engines.native.draft import Draft
from edge.engines.native.forward import Forward
from edge.engines.native.gradients import Backward
from edge.engines.native.node import Image, Node, Value
from edge.engines.native.operators.rule import Rule
from edge.engines.native.operators.stored import stored
from edge.engines.native.places import Places
from edge.engines.native.rows import NormSpec, Row
from edge.engines.native.slots import Slot
from edge.engines.native.steps import Spec
from edge.libmest import program as structs
from edge.network import Operator
from edge.network.operators.attention import Attention


@dataclass(frozen=True, slots=True)
class AttentionRow(Row):
    """How the channels of the input are queries, keys and values."""

    operator: Attention

    def made(self, places: Places) -> structs.Attention:
        """The row of the table."""
        return structs.Attention(self.operator.heads, self.operator.features, self.operator.scale)


class Attending(Rule):
    """Reads its input as it is stored; a thread's scratch has two rows of weights for a few queries at most."""

    pushes_in_place = True
    heavy = True

    def take_up(self, draft: Draft, operator: Operator, inputs: tuple[Value, ...]) -> Value:
        """A node that reads stored floats."""
        return super().take_up(draft, operator, (stored(draft, inputs[0], operator.name),))

    def reads(self, node: Node, trained: frozenset[str]) -> Iterable[Node]:
        """The input."""
        return (node.inputs[0].node.base,)

    def forward(self, forward: Forward, node: Node, out: Slot, label: str, norm: NormSpec | None) -> None:
        """One step."""
        a, floats = forward.value(node.inputs[0]), _scratch(forward, node.image, rows=1)
        forward.steps.emit(
            Spec(
                "attention",
                label,
                node,
                a=a,
                out=out,
                rows={"attention": AttentionRow(_attention(node))},
                scratch=forward.scratch(f"{label} scratch", floats),
                scratch_floats=floats,
            )
        )

    def backward(self, backward: Backward, node: Node) -> None:
        """One step for queries, keys and values."""
        value, forward = node.inputs[0], backward.forward
        if not backward.wanted(value):
            return
        gradient, floats = backward.grad_in_place(node), _scratch(forward, node.image, rows=2)
        out, accumulate = backward.target(value)
        backward.steps.emit(
            Spec(
                "attention_grad",
                f"{node.name} gradient",
                node,
                a=forward.value(value),
                g=gradient,
                out=out,
                rows={"attention": AttentionRow(_attention(node))},
                scratch=forward.scratch(f"{node.name} gradient scratch", floats),
                scratch_floats=floats,
                numbers={"accumulate": accumulate},
            )
        )


def _scratch(forward: Forward, image: Image, rows: int) -> int:
    """Floats of a thread: so many rows a query, of one number a position and sample, and two numbers a sample."""
    return (rows * structs.QUERIES * image[1] * image[2] + 2) * forward.samples


def _attention(node: Node) -> Attention:
    assert isinstance(node.operator, Attention)
    return node.operator
