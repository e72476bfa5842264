"""Sums of two values of the same shape."""

from __future__ import annotations

from edge.engines.native.draft import Draft
from edge.engines.native.forward import Forward
from edge.engines.native.gradients import Backward
from edge.engines.native.node import Node, Value
from edge.engines.native.operators.broadcast import Broadcasting
from edge.engines.native.operators.rule import Rule
from edge.engines.native.rows import NormSpec
from edge.engines.native.slots import GradSpec, Slot
from edge.engines.native.steps import Spec
from edge.network import Operator


class Addition(Rule):
    """Both inputs get the same gradient: they share its buffer where nobody writes it before all have read it."""

    takes_activation = True
    adds_sums = True
    pushes_in_place = True
    hands_on = True
    cheap = True

    def take_up(self, draft: Draft, operator: Operator, inputs: tuple[Value, ...]) -> Value:
        """A node of this family; of the general one where an operand is stored or broadcast."""
        plain = len(inputs) == 2 and inputs[0].image == inputs[1].image
        return super().take_up(draft, operator, inputs) if plain else _SUM.take_up(draft, operator, inputs)

    def forward(self, forward: Forward, node: Node, out: Slot, label: str, norm: NormSpec | None) -> None:
        """One step."""
        left, right = (forward.value(value) for value in node.inputs)
        numbers = {"act": node.store_act}
        forward.steps.emit(Spec("add", label, node, a=left, b=right, out=out, norm=norm, numbers=numbers))

    def backward(self, backward: Backward, node: Node) -> None:
        """A step for each input that cannot share the buffer, and one for what the sum is read through."""
        shared = backward.held[node]
        wanted = [value for value in node.inputs if backward.wanted(value)]
        twice = len({value.node for value in wanted}) < len(wanted)
        readers = [] if twice else [value for value in wanted if only_reads(backward, value)]
        writers = [value for value in wanted if value not in readers]
        heir = None
        if len(writers) == 1 and writers[0].node not in backward.held:
            first = first_write(writers[0].node, node)
            if all(reader.node.index > first for reader in readers):
                heir = writers[0]
        if node.norm or node.act:
            sums, summed = None, None
            for value in readers:
                sums, summed = backward.sums_on_the_way(value.node, shared)
                if sums:
                    break
            name, g = f"{node.name} gradient in place", backward.grad(node)
            backward.steps.emit(Spec("push_grad", name, node, g=g, sums=sums, out=shared, sums_norm=summed))
        for number, value in enumerate(writers):
            if value is not heir:
                again = any(other.node is value.node for other in writers[number + 1 :])
                backward.push(node, value, GradSpec(shared, node, node.image), last=not again)
        for value in (*readers, *([heir] if heir else [])):
            backward.held[value.node] = shared


def only_reads(backward: Backward, value: Value) -> bool:
    """True if the value's node will read this gradient once and never write it."""
    node = value.node
    in_place = node.family.pushes_in_place and bool(node.norm or node.act)
    return node not in backward.held and not backward.awaited(node) and not in_place and not node.family.hands_on


def first_write(node: Node, after: Node) -> int:
    """Index of the node whose backward steps first write the gradient of `node`, once `after` has been done."""
    coming = [consumer.index for consumer in node.consumers if consumer.index < after.index]
    return max(coming, default=node.index)


_SUM = Broadcasting("add")
