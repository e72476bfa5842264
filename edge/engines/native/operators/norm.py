"""Batch norm: statistics of what is stored, and coefficients of its gradient; the tensor is normalised when read."""

from __future__ import annotations

from edge.engines.native.draft import Draft, image_of
from edge.engines.native.forward import Forward
from edge.engines.native.gradients import Backward
from edge.engines.native.node import Node, Value
from edge.engines.native.operators.rule import Rule
from edge.engines.native.operators.stored import alias
from edge.engines.native.rows import NormSpec
from edge.engines.native.slots import Slot, ViewSpec
from edge.engines.native.steps import Spec
from edge.libmest.vocabulary import SLOPES, STATISTICS
from edge.network import BatchNorm, Operator


class ReadNorm(Rule):
    """A batch norm, folded into how its input is read."""

    def take_up(self, draft: Draft, operator: Operator, inputs: tuple[Value, ...]) -> Value:
        """The input's node where nobody else reads it and nothing is folded into it yet, or an alias of it."""
        assert isinstance(operator, BatchNorm)
        node = inputs[0].node
        if not (draft.may_fold(operator, inputs[0]) and node.norm is None and not node.act and node.family.stores):
            node = alias(draft, inputs[0], operator.name)
            node.image = image_of(operator.shape)
        node.norm = operator
        return Value(node, image_of(operator.shape))


def emit_statistics(forward: Forward, node: Node, summed: bool) -> None:
    """Mean and deviation of the node's batch norm; first their sums, unless they were `summed` while it was stored."""
    frozen = forward.frozen(node)
    label, floats = f"{node.name}.statistics", STATISTICS * node.image[0]
    statistics = forward.statistics[node] = Slot(label, "saved activations", 4 * floats)
    forward.slopes[node] = Slot(f"{node.name}.slopes", "workspace", 4 * SLOPES * node.image[0])
    if not frozen and not summed:
        stored = ViewSpec(forward.where[node.base], node.base, node.image, forward.statistics.get(node.base))
        norm = NormSpec(node, sums=forward.start_sums(node))
        forward.steps.emit(Spec("norm_sums", f"{node.name} sums", node, a=stored, norm=norm))
    norm = NormSpec(node, statistics, sums=None if frozen else forward.sums[node], frozen=frozen)
    forward.steps.emit(Spec("norm_finish", f"{node.name} statistics", node, norm=norm))


def emit_slopes(backward: Backward, node: Node) -> None:
    """The batch norm's own gradients, and the coefficients of its input's; nothing where neither is wanted."""
    if not backward.wants_sums(node):
        return
    if node not in backward.summed:
        backward.start_sums(node)
        name = f"{node.name} gradient sums"
        backward.steps.emit(Spec("norm_grad_sums", name, node, g=backward.grad(node), norm=backward.norm(node)))
    backward.steps.emit(Spec("norm_grad_finish", f"{node.name} gradient slopes", node, norm=backward.norm(node)))
