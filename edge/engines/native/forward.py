"""The forward half of a program: where each node's stored tensor is now, and how it is read."""

from __future__ import annotations

from math import prod

from edge.engines.native.model import Model
from edge.engines.native.node import Image, Node, Value
from edge.engines.native.slots import Slot, ViewSpec
from edge.engines.native.steps import Steps
from edge.libmest.vocabulary import SUMS


class Forward:
    """What forward steps are written with. `where` is the slot that holds a node's stored tensor now.

    `statistics` and `slopes` are those of a node's batch norm; `kept` is what a node's own step leaves for its backward
    step beside its tensor.
    """

    def __init__(self, model: Model, groups: int, samples: int, training: bool) -> None:
        self.model = model
        self.groups = groups
        self.samples = samples
        self.threads = model.choices.threads
        self.training = training
        self.steps = Steps()
        self.where: dict[Node, Slot] = {}
        self.statistics: dict[Node, Slot] = {}
        self.slopes: dict[Node, Slot] = {}
        self.sums: dict[Node, Slot] = {}
        self.kept: dict[Node, Slot] = {}

    def frozen(self, node: Node) -> bool:
        """True if the node's batch norm normalises by its running statistics in this pass, and they stay."""
        return not (self.training and self.model.batch_statistics(node, self.groups * self.samples))

    def floats(self, image: Image) -> int:
        """Floats of a tensor for the whole micro-batch."""
        return prod(image) * self.groups * self.samples

    def view(self, node: Node, image: Image | None = None) -> ViewSpec:
        """The node's value as an input."""
        return ViewSpec(self.where[node.base], node, image or node.image, self.statistics.get(node))

    def value(self, value: Value) -> ViewSpec:
        """A value as an input, in its own shape."""
        return self.view(value.node, value.image)

    def scratch(self, label: str, floats: int) -> Slot:
        """A slot of `floats` for every thread."""
        return Slot(label, "workspace", 4 * floats * self.threads)

    def new_sums(self, label: str, node: Node) -> Slot:
        """Room for what the threads add up for the node's batch norm."""
        return Slot(label, "workspace", 8 * SUMS * node.image[0] * self.threads)

    def start_sums(self, node: Node) -> Slot:
        """Room for the sums of what the node stores."""
        found = self.sums[node] = self.new_sums(f"{node.name}.sums", node)
        return found
