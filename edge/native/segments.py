"""Where a network can be cut so that only one value crosses: the borders of residual blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.native.graph import Node

CONVOLUTIONS = 2  # a segment shorter than this keeps as much as it saves


@dataclass(frozen=True)
class Segment:
    """Consecutive nodes; `kept` are those whose stored tensor later segments read."""

    nodes: tuple[Node, ...]
    kept: tuple[Node, ...]


def cut_segments(nodes: Sequence[Node]) -> list[Segment]:
    """The nodes cut wherever nothing but the last one's value is read later."""
    last_use = {node: max((consumer.index for consumer in node.consumers), default=node.index) for node in nodes}
    segments: list[Segment] = []
    begin, reach = 0, 0
    for position, node in enumerate(nodes):
        others = (last_use[earlier] for earlier in nodes[:position])
        reach = max(others, default=0)
        closed = reach <= position and node.base is node
        convolutions = sum(member.kind == "conv" for member in nodes[begin : position + 1])
        if (closed and convolutions >= CONVOLUTIONS) or position == len(nodes) - 1:
            segments.append(Segment(tuple(nodes[begin : position + 1]), (node,)))
            begin = position + 1
    return segments
