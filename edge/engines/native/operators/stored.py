"""Nodes that no operator of the network stands for: the images, a value stored once more, a value read otherwise."""

from __future__ import annotations

from edge.engines.native.draft import Draft
from edge.engines.native.forward import Forward
from edge.engines.native.gradients import Backward
from edge.engines.native.node import Node, Value
from edge.engines.native.operators.rule import Rule
from edge.engines.native.rows import NormSpec
from edge.engines.native.slots import Slot
from edge.engines.native.steps import Spec


class Given(Rule):
    """The images of a call, in the layout of stored tensors."""

    given = True

    def forward(self, forward: Forward, node: Node, out: Slot, label: str, norm: NormSpec | None) -> None:
        """One step."""
        forward.steps.emit(Spec("input", label, node, out=out))


class Copy(Rule):
    """Stores the value of its input."""

    takes_activation = True

    def forward(self, forward: Forward, node: Node, out: Slot, label: str, norm: NormSpec | None) -> None:
        """One step."""
        numbers = {"act": node.store_act}
        forward.steps.emit(Spec("copy", label, node, a=forward.value(node.inputs[0]), out=out, numbers=numbers))

    def backward(self, backward: Backward, node: Node) -> None:
        """Its gradient is added to that of its input."""
        backward.push(node, node.inputs[0], backward.grad(node))


class Alias(Rule):
    """Stores nothing: reads the tensor of its input through a batch norm or activation of its own."""

    stores = False

    def backward(self, backward: Backward, node: Node) -> None:
        """Its gradient, read through what it is read through, is added to that of its input."""
        backward.push(node, node.inputs[0], backward.grad(node))


GIVEN, COPY, ALIAS = Given(), Copy(), Alias()


def stored(draft: Draft, value: Value, name: str) -> Value:
    """The value as stored floats, copied if it is read through something."""
    if value.node.plain:
        return value
    return Value(draft.add(f"{name}.input", COPY, (value,), value.node.image), value.image)


def alias(draft: Draft, value: Value, name: str) -> Node:
    """A node that reads the value's tensor, in its own shape."""
    node = stored(draft, value, name).node
    return draft.add(name, ALIAS, (Value(node, node.image),), node.image)
