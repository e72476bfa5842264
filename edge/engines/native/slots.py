"""Buffers of the planned list, each known by its identity, and how steps read tensors and gradients from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from edge.engines.native.node import Image, Node
from edge.libmest.vocabulary import FLOAT32
from edge.plan.footprint import Kind


@dataclass(frozen=True, eq=False, slots=True)
class Slot:
    """A buffer of the step list. Two slots are never the same one, whatever their labels: labels are for reports.

    `storage` is how a stored tensor lies in it: a place in `SAVED` of `edge.libmest.vocabulary`; `origin` the
    statistics of a batch norm whose mean was taken off before.
    """

    label: str
    kind: Kind
    nbytes: int
    storage: int = FLOAT32
    origin: Slot | None = None


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """A stored tensor read through a node's batch norm, whose `statistics` those are, and activation."""

    data: Slot
    node: Node
    image: Image
    statistics: Slot | None = None

    def moved(self, others: Mapping[Slot, Slot]) -> ViewSpec:
        """The same of a tensor that lies elsewhere: `others` are the new slots by the old ones."""
        return replace(self, data=others.get(self.data, self.data))

    def slots(self) -> Iterator[Slot | None]:
        """Every slot that reading touches."""
        yield self.data
        yield self.data.origin
        yield self.statistics


@dataclass(frozen=True, slots=True)
class GradSpec:
    """The gradient of a node's value; with `stored`, read as the gradient of the stored tensor.

    Without `data` it states a shape alone.
    """

    data: Slot | None
    node: Node
    image: Image
    stored: Slot | None = None
    statistics: Slot | None = None
    slopes: Slot | None = None

    def moved(self, others: Mapping[Slot, Slot]) -> GradSpec:
        """The same with the stored tensor in another slot."""
        return replace(self, stored=self.stored and others.get(self.stored, self.stored))

    def slots(self) -> Iterator[Slot | None]:
        """Every slot that reading touches."""
        yield self.data
        yield self.stored
        yield self.stored and self.stored.origin
        yield self.statistics
        yield self.slopes
