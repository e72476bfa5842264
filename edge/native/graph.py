"""The network as the engine sees it: operators with their batch norm and activation folded into how they are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from edge.native.structs import NO_ACT, RELU, RELU6
from edge.network import INPUT, BatchNorm, Conv, Flatten, Linear, Network, Operator, Relu, Relu6

Image = tuple[int, int, int]  # channels, height, width


@dataclass(eq=False)
class Node:
    """A stored tensor and how its value is read: through batch norm `norm`, then `read_act`.

    `kind` is the operator that stores it; `alias` stores nothing and reads the tensor of its input; `copy` stores the
    value of its input. Without a batch norm an activation is applied before storing (`store_act`).
    """

    name: str
    kind: str
    inputs: tuple[Value, ...]
    image: Image
    operator: Operator | None = None
    norm: BatchNorm | None = None
    store_act: int = NO_ACT
    read_act: int = NO_ACT
    index: int = 0
    consumers: list[Node] = field(default_factory=list, repr=False)

    @property
    def act(self) -> int:
        """The activation between the stored tensor (or its normalisation) and the value."""
        return self.store_act or self.read_act

    @property
    def plain(self) -> bool:
        """True if the stored floats are the value."""
        return self.norm is None and not self.read_act

    @property
    def floats(self) -> int:
        """Floats per sample."""
        return prod(self.image)

    @property
    def base(self) -> Node:
        """The node whose stored tensor this one reads."""
        return self.inputs[0].node if self.kind == "alias" else self


@dataclass(frozen=True)
class Value:
    """A node's value in some shape of the same size."""

    node: Node
    image: Image


def build_graph(network: Network) -> list[Node]:
    """Nodes in topological order; the last one stores the logits."""
    readers = {name: len(found) for name, found in network.consumers().items()}
    values: dict[str, Value] = {}
    nodes: list[Node] = []

    def add(name: str, kind: str, inputs: tuple[Value, ...], image: Image, operator: Operator | None = None) -> Node:
        node = Node(name, kind, inputs, image, operator, index=len(nodes))
        nodes.append(node)
        return node

    def plain(value: Value, name: str) -> Value:
        """The value as stored floats, copied if it is read through something."""
        if value.node.plain:
            return value
        return Value(add(f"{name}.input", "copy", (value,), value.node.image), value.image)

    values[INPUT] = Value(add(INPUT, "input", (), network.input), network.input)
    for operator in network.operators:
        inputs = tuple(values[name] for name in operator.inputs)
        image = _image(operator.shape)
        first = inputs[0]
        own = readers[operator.inputs[0]] == 1 and first.image == first.node.image and first.node.kind != "input"
        if isinstance(operator, BatchNorm):
            node = first.node
            if not (own and node.norm is None and not node.act and node.kind != "alias"):
                node = add(operator.name, "alias", (_same(plain(first, operator.name)),), image)
            node.norm = operator
            values[operator.name] = Value(node, image)
        elif isinstance(operator, Relu | Relu6):
            node, act = first.node, RELU if isinstance(operator, Relu) else RELU6
            if own and not node.act and (node.norm or node.kind in ("conv", "add", "copy")):
                if node.norm:
                    node.read_act = act
                else:
                    node.store_act = act
                values[operator.name] = Value(node, image)
            else:
                node = add(operator.name, "alias", (_same(plain(first, operator.name)),), first.node.image)
                node.read_act = act
                values[operator.name] = Value(node, first.image)
        elif isinstance(operator, Flatten):
            one_cell = prod(first.image[1:]) == 1
            values[operator.name] = Value((first if one_cell else plain(first, operator.name)).node, image)
        else:
            kind = "conv" if isinstance(operator, Conv | Linear) else operator.op
            if kind == "global_avg_pool":
                kind = "avg_pool"
            node = add(operator.name, kind, inputs, image, operator)
            values[operator.name] = Value(node, image)
    logits = values[network.logits]
    if not logits.node.plain or logits.node is not nodes[-1]:
        node = add(f"{network.logits}.logits", "copy", (logits,), logits.node.image)
    for node in nodes:
        for value in node.inputs:
            value.node.consumers.append(node)
    return nodes


def _image(shape: tuple[int, ...]) -> Image:
    return (shape[0], 1, 1) if len(shape) == 1 else (shape[0], shape[1], shape[2])


def _same(value: Value) -> Value:
    """The value in its node's own shape."""
    return Value(value.node, value.node.image)
