"""The graph being written: the nodes so far, and who may fold into them."""

from __future__ import annotations

from collections.abc import Mapping

from edge.engines.native.node import Family, Image, Node, Value
from edge.network import Operator


class Draft:
    """Nodes in topological order. `readers` counts the operators that read a value, by its name."""

    def __init__(self, readers: Mapping[str, int]) -> None:
        self.nodes: list[Node] = []
        self._readers = readers

    def add(
        self, name: str, family: Family, inputs: tuple[Value, ...], image: Image, operator: Operator | None = None
    ) -> Node:
        """A new node at the end."""
        node = Node(name, family, inputs, image, operator, index=len(self.nodes))
        self.nodes.append(node)
        return node

    def may_fold(self, operator: Operator, value: Value) -> bool:
        """True if nobody but the operator reads its first input, `value`, whole, so that reading it may change."""
        return self._readers[operator.inputs[0]] == 1 and value.whole and not value.node.family.given

    def finished(self) -> list[Node]:
        """The nodes, each with those that read it."""
        for node in self.nodes:
            for value in node.inputs:
                value.node.consumers.append(node)
        return self.nodes


def image_of(shape: tuple[int, ...]) -> Image:
    """A value's shape as channels, height and width."""
    return (shape[0], 1, 1) if len(shape) == 1 else (shape[0], shape[1], shape[2])
