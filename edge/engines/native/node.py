"""A stored tensor of the network, how its value is read, and what planning asks of the operator that stores it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod

from edge.engines.native.layout import WeightLayout
from edge.libmest.vocabulary import NO_ACT
from edge.network import BatchNorm, Network, Operator
from edge.plan.choices import Choices

Image = tuple[int, int, int]  # channels, height, width


class Family:
    """What planning asks of the operators of one family; a class attribute is the answer for all of their nodes."""

    stores = True  # False: a node without a tensor of its own, which reads that of its input
    given = False  # True: what it stores comes from outside and cannot be computed again
    takes_activation = False  # its step can apply an activation to what it stores
    adds_sums = False  # its step can add up a batch norm's sums of what it stores
    pushes_in_place = False  # its backward steps turn its gradient into its stored tensor's in the same buffer
    hands_on = False  # an input may take over the buffer of its gradient
    cheap = False  # storing it again in the backward pass costs little: recompute `activations` does so
    heavy = False  # most of a step's time: recompute `blocks` cuts behind a few of them

    def reads(self, node: Node, trained: frozenset[str]) -> Iterable[Node]:
        """Nodes whose stored tensor the node's backward steps read, beside its own for a batch norm or activation."""
        return ()

    def layouts(
        self, node: Node, network: Network, choices: Choices, trained: frozenset[str], inputs_need: bool
    ) -> Mapping[str, WeightLayout]:
        """By parameter name, the layouts of those that the family holds in a way of its own.

        `inputs_need`: an input's gradient is wanted. Raises InputError for what the engine cannot hold.
        """
        return {}


@dataclass(eq=False, slots=True)
class Node:
    """A stored tensor and how its value is read: through batch norm `norm`, then `read_act` with its two `numbers`.

    `family` knows how `operator` stores it. Without a batch norm an activation may be applied before storing
    (`store_act`).
    """

    name: str
    family: Family
    inputs: tuple[Value, ...]
    image: Image
    operator: Operator | None = None
    norm: BatchNorm | None = None
    store_act: int = NO_ACT
    read_act: int = NO_ACT
    numbers: tuple[float, float] = (0.0, 0.0)
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
        return self if self.family.stores else self.inputs[0].node


@dataclass(frozen=True, slots=True)
class Value:
    """A node's value in some shape of the same size."""

    node: Node
    image: Image

    @property
    def whole(self) -> bool:
        """True if the shape is the node's own."""
        return self.image == self.node.image
