"""What every operator of the native engine can do."""

from __future__ import annotations

from edge.engines.native.draft import Draft, image_of
from edge.engines.native.forward import Forward
from edge.engines.native.gradients import Backward
from edge.engines.native.node import Family, Node, Value
from edge.engines.native.rows import NormSpec
from edge.engines.native.slots import Slot
from edge.network import Operator


class Rule(Family):
    """How the operators of one family are taken up and which steps they become. Rules hold nothing of a network."""

    def take_up(self, draft: Draft, operator: Operator, inputs: tuple[Value, ...]) -> Value:
        """The operator's value, from a node of its own unless a family folds it into how its input is read."""
        image = image_of(operator.shape)
        return Value(draft.add(operator.name, self, inputs, image, operator), image)

    def forward(self, forward: Forward, node: Node, out: Slot, label: str, norm: NormSpec | None) -> None:
        """Emit what writes the node's tensor to `out`, and adds the sums of `norm` where `adds_sums` says so.

        Families that fold all of their operators into how values are read have none.
        """
        raise AssertionError(f"{node.name}: {type(self).__name__} stores nothing")

    def backward(self, backward: Backward, node: Node) -> None:
        """Emit what adds to the gradients of the node's inputs, and to those of its parameters."""
