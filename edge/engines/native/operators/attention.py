"""Attention: one step each way. The weights between positions are computed again in the backward step, row by row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from edge.engines.native.draft import Draft
from edge.engines.native.forward import Forward
from edge.engines.native.gradients import Backward
from edge.engines.native.node import Node, Value
from edge.engines.native.operators.rule import Rule
from edge.engines.native.operators.stored import stored
from edge.engines.native.places import Places
from edge.engines.native.rows import NormSpec, Row
from edge.engines.native.slots import Slot
from edge.engines.native.steps import Spec
from edge.libmest import program as structs
from edge.libmest import vocabulary
from edge.network import Operator
from edge.network.operators.attention import Attention


@dataclass(frozen=True, slots=True)
class AttentionRow(Row):
    """How the channels of the input are queries, keys and values, and what stands beside the scores."""

    operator: Attention

    def made(self, places: Places) -> structs.Attention:
        """The row of the table."""
        op, array = self.operator, places.operands.array
        found = structs.Attention(heads=op.heads, features=op.features, scale=op.scale, windows=op.windows)
        if op.bias is not None and op.places is not None:
            bias = places.tensors[op.bias]
            found.bias, found.bias_grad, found.bias_count = array(bias.values), array(bias.gradient), bias.count
            found.places = places.channels(op.places)
        if op.mask is not None:
            found.mask = array(places.tensors[op.mask].values)
            found.mask_windows = places.model.network.parameters[op.mask].shape[0]
        return found


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
        a, floats = forward.value(node.inputs[0]), _scratch(forward, node, rows=1)
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
        """One step for queries, keys and values, and for the bias."""
        value, forward, operator = node.inputs[0], backward.forward, _attention(node)
        bias, wanted = backward.model.trained & {operator.bias}, backward.wanted(value)
        if not wanted and not bias:
            return
        gradient, floats = backward.grad_in_place(node), _scratch(forward, node, rows=2)
        if bias:
            floats += 2 * prod(backward.model.network.parameters[str(operator.bias)].shape)  # doubles
            floats += floats % 2
        if wanted:
            out, accumulate = backward.target(value)
        else:
            nbytes = 4 * forward.floats(value.node.image)
            out, accumulate = Slot(f"{node.name} unread gradient", "workspace", nbytes), 0
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


def _scratch(forward: Forward, node: Node, rows: int) -> int:
    """Floats of a thread: so many rows a query, of one number a position and sample, and two numbers a sample."""
    length = prod(node.image[1:]) // _attention(node).windows
    return (rows * vocabulary.QUERIES * length + 2) * forward.samples


def _attention(node: Node) -> Attention:
    assert isinstance(node.operator, Attention)
    return node.operator
