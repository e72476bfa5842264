"""From node to node: forward, backward, and forward again where the backward pass reads what was not kept."""

from __future__ import annotations

from collections.abc import Iterable

from edge.engines.native.forward import Forward
from edge.engines.native.gradients import Backward
from edge.engines.native.node import Node
from edge.engines.native.operators.norm import emit_slopes, emit_statistics
from edge.engines.native.operators.registry import rule_of
from edge.engines.native.rows import NormSpec
from edge.engines.native.segments import Segment
from edge.engines.native.slots import Slot


def store(forward: Forward, node: Node, again: str = "") -> None:
    """The node's forward steps. `again` marks a recomputation: statistics are there already, buffers get a new name."""
    rule, summed = rule_of(node), False
    if rule.stores:
        out = forward.where[node] = Slot(node.name + again, "saved activations", 4 * forward.floats(node.image))
        summed = node.norm is not None and not forward.frozen(node) and not again and rule.adds_sums
        norm = NormSpec(node, sums=forward.start_sums(node)) if summed else None
        rule.forward(forward, node, out, f"{node.name}{' again' if again else ''}", norm)
    if node.norm and not again:
        emit_statistics(forward, node, summed)


class BackwardWalk:
    """The way back. `dropped` nodes' stored tensors are computed again when first read."""

    def __init__(self, backward: Backward, dropped: Iterable[Node] = ()) -> None:
        self._backward = backward
        self._forward = backward.forward
        self._dropped = set(dropped)

    def node(self, node: Node) -> None:
        """The node's steps, if its gradient is wanted."""
        backward = self._backward
        if node not in backward.held or node not in backward.model.needs:
            return
        backward.begin(node)
        for read in sorted(self.reads(node) & self._dropped, key=lambda found: found.index):
            self._bring_back(read)
        emit_slopes(backward, node)
        rule_of(node).backward(backward, node)

    def reads(self, node: Node) -> set[Node]:
        """Nodes whose stored tensor the node's backward steps read."""
        found = set(node.family.reads(node, self._backward.model.trained))
        if node.norm or node.act:
            found.add(node.base)
        return found

    def recompute(self, segment: Segment) -> None:
        """Forward again what the segment's backward pass reads and was not kept."""
        wanted: set[Node] = set()
        for node in segment.nodes:
            if node in self._backward.held or node in self._backward.model.needs:
                wanted |= self.reads(node)
        inside = [node for node in segment.nodes if node not in segment.kept and node.family.stores]
        for node in reversed(inside):
            if node in wanted:
                wanted.update(value.node.base for value in node.inputs)
        for node in inside:
            if node in wanted and not node.family.given:
                store(self._forward, node, again="'")

    def _bring_back(self, node: Node) -> None:
        """Store a dropped node's tensor again, and first the dropped ones that it is made of."""
        self._dropped.discard(node)
        for value in node.inputs:
            if value.node.base in self._dropped:
                self._bring_back(value.node.base)
        store(self._forward, node, again="'")
