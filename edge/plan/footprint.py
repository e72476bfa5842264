"""What an engine says it will hold before it starts: facts for the planner, the profiler and the report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "runtime",  # interpreter, libraries, thread stacks
    "weights",
    "indices",
    "gradients",
    "optimizer",
    "saved activations",
    "workspace",
    "data",  # batches, decoder, evaluation buffers
    "mutation",
    "saving",
]


@dataclass(frozen=True, slots=True)
class Buffer:
    """A tensor of the arena: alive from the start of step `first` to the end of step `last`, both included.

    A name is for reports; several may bear the same.
    """

    name: str
    kind: Kind
    nbytes: int
    first: int
    last: int


@dataclass(frozen=True)
class ArenaPlan:
    """Where every buffer lies in one block of memory: `offsets` in the order of the buffers that were planned.

    `naive_bytes` is the size without any reuse.
    """

    nbytes: int
    naive_bytes: int
    peak_step: int
    offsets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """Bytes held outside the arena for the whole run."""

    kind: Kind
    name: str
    nbytes: int


@dataclass(frozen=True)
class Footprint:
    """All memory of an engine for given choices, above what the process already holds."""

    items: tuple[Item, ...]
    buffers: tuple[Buffer, ...]
    arena: ArenaPlan
    steps: tuple[str, ...]  # names of the steps that `Buffer.first` and `last` count

    @property
    def nbytes(self) -> int:
        """Bytes of the whole footprint: items and arena."""
        return sum(item.nbytes for item in self.items) + self.arena.nbytes


@dataclass(frozen=True, slots=True)
class Alternative:
    """A plan of the same work that needs less, by one choice alone: what that saves of the peak, and what it costs.

    `time_cost` is the time of a step relative to the plan that was taken: a planning figure, not a measurement.
    `exact` is False where the result of training changes.
    """

    choice: str  # a field of `edge.plan.choices.Choices`
    value: str
    saved_bytes: int
    time_cost: float
    exact: bool


def by_kind(items: Iterable[Item]) -> dict[Kind, int]:
    """Bytes by kind, largest first."""
    totals: dict[Kind, int] = {}
    for item in items:
        totals[item.kind] = totals.get(item.kind, 0) + item.nbytes
    return dict(sorted(totals.items(), key=lambda pair: -pair[1]))
