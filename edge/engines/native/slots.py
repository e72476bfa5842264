"""Buffers of the planned list, each known by its identity, and how steps read tensors and gradients from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edge.engines.native.node import Image, Node
from edge.plan.footprint import Kind


@dataclass(frozen=True, eq=False, slots=True)
class Slot:
    """A buffer of the step list. Two slots are never the same one, whatever their labels: labels are for reports."""

    label: str
    kind: Kind
    nbytes: int


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """A stored tensor read through a node's batch norm, whose `statistics` those are, and activation."""

    data: Slot
    node: Node
    image: Image
    statistics: Slot | None = None

    def slots(self) -> Iterator[Slot | None]:
        """Every slot that reading touches."""
        yield self.data
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

    def slots(self) -> Iterator[Slot | None]:
        """Every slot that reading touches."""
        yield self.data
        yield self.stored
        yield self.statistics
        yield self.slopes
