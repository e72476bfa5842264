"""Where a network can be cut so that only one value crosses: the borders of residual blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.engines.native.node import Node

LONGEST_CHAIN = 3  # of sums that are recomputed one from the other
HEAVY = 2  # operators of a segment at least: a shorter one keeps as much as it saves


@dataclass(frozen=True)
class Segment:
    """Consecutive nodes; `kept` are those whose stored tensor later segments read."""

    nodes: tuple[Node, ...]
    kept: tuple[Node, ...]


def dropped_nodes(nodes: Sequence[Node]) -> frozenset[Node]:
    """Nodes that store what is cheap, such as a sum, to be stored again in the backward pass from what is kept.

    At most `LONGEST_CHAIN` of them depend on each other, so that bringing one back needs few others.
    """
    depth: dict[Node, int] = {}
    for node in nodes[:-1]:
        if not node.family.cheap:
            continue
        below = max(depth.get(value.node.base, 0) for value in node.inputs)
        if below < LONGEST_CHAIN:
            depth[node] = below + 1
    return frozenset(depth)


def cut_segments(nodes: Sequence[Node]) -> list[Segment]:
    """The nodes cut wherever nothing but the last one's value is read later."""
    last_use = {node: max((consumer.index for consumer in node.consumers), default=node.index) for node in nodes}
    segments: list[Segment] = []
    begin, reach = 0, 0
    for position, node in enumerate(nodes):
        others = (last_use[earlier] for earlier in nodes[:position])
        reach = max(others, default=0)
        closed = reach <= position and node.family.stores
        heavy = sum(member.family.heavy for member in nodes[begin : position + 1])
        if (closed and heavy >= HEAVY) or position == len(nodes) - 1:
            segments.append(Segment(tuple(nodes[begin : position + 1]), (node,)))
            begin = position + 1
    return segments
