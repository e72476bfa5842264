"""Activations: functions of one number, applied where a tensor is stored or each time that it is read."""

from __future__ import annotations

from edge.engines.native.draft import Draft
from edge.engines.native.node import Node, Value
from edge.engines.native.operators.rule import Rule
from edge.engines.native.operators.stored import alias
from edge.libmest.vocabulary import ACTS
from edge.network import Operator


class Activation(Rule):
    """The activation `name` of `ACTS` in `edge.libmest.vocabulary`; `numbers`: up to two of the operator's fields.

    `gradient_of_value`: its gradient can be told from the value that it gives, so it may be applied before storing. One
    without is applied at each read, and what it is applied to is stored.
    """

    def __init__(self, name: str, *numbers: str, gradient_of_value: bool = False) -> None:
        self.code = ACTS.index(name)
        self.numbers = numbers
        self.gradient_of_value = gradient_of_value

    def take_up(self, draft: Draft, operator: Operator, inputs: tuple[Value, ...]) -> Value:
        """Folded into how the input is read, or into how it is stored; read through an alias where others read it."""
        value = inputs[0]
        node = value.node
        if draft.may_fold(operator, value) and not node.act and (node.norm or node.family.takes_activation):
            if node.norm or not self.gradient_of_value:
                self._read(node, operator)
            else:
                node.store_act = self.code
            return Value(node, value.image)
        node = alias(draft, value, operator.name)
        self._read(node, operator)
        return Value(node, value.image)

    def _read(self, node: Node, operator: Operator) -> None:
        node.read_act = self.code
        first, second, *_ = (*(getattr(operator, name) for name in self.numbers), 0.0, 0.0)
        node.numbers = first, second
