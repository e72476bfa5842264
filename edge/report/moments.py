"""What a plan holds at every moment of a training step, by kind, and what makes up its peak."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge.plan.footprint import Buffer, Item
from edge.report.record import Plan

# From the ground up (what never moves lies below what comes and goes), each with what a reader should know of it.
KINDS = {
    "runtime": "The interpreter, its libraries and the stacks of threads: there before the network is loaded.",
    "weights": "The trained numbers themselves; of a sparse layer only those that are not zero.",
    "indices": "Where the non-zero weights of a sparse layer stand.",
    "optimizer": "What the optimizer remembers per weight from step to step, such as momentum.",
    "gradients": "How the loss changes with each weight: one number per weight that is not zero.",
    "data": "Images being read, decoded and normalised, and the batch itself.",
    "mutation": "Room to remove weights and grow others inside the compressed form.",
    "saving": "Room to write a state that survives a power cut.",
    "saved activations": "What the forward pass must keep until the backward pass has read it; grows with the batch.",
    "workspace": "Short-lived results inside a step.",
}


@dataclass(frozen=True)
class Timeline:
    """Bytes alive at each step, by kind; `contributors` are alive at `peak_step`, largest first.

    `reserved_bytes` is what the process holds once the whole arena has been touched: never below `totals`.
    """

    steps: tuple[str, ...]
    by_kind: dict[str, tuple[int, ...]]
    totals: tuple[int, ...]
    peak_step: int
    contributors: tuple[Item, ...]
    reserved_bytes: int

    @property
    def peak_bytes(self) -> int:
        """The largest number of bytes alive at once."""
        return self.totals[self.peak_step]

    def peak_by_kind(self) -> dict[str, int]:
        """Bytes by kind at the peak, from the ground up, kinds without bytes left out."""
        return {kind: series[self.peak_step] for kind, series in self.by_kind.items() if series[self.peak_step]}

    def without(self, kind: str) -> Timeline:
        """The same moments without the bytes of one kind, which must not change over the step."""
        series = self.by_kind.get(kind, (0,))
        return replace(
            self,
            by_kind={name: values for name, values in self.by_kind.items() if name != kind},
            totals=tuple(total - series[0] for total in self.totals),
            contributors=tuple(item for item in self.contributors if item.kind != kind),
            reserved_bytes=self.reserved_bytes - series[0],
        )


def timeline(plan: Plan) -> Timeline:
    """The bytes of a plan step by step; of several equal peaks the first.

    A plan without steps is a single moment in which everything is alive.
    """
    steps = plan.steps or ("whole step",)
    count = len(steps)
    changes = {kind: [0] * (count + 1) for kind in KINDS}
    items = (Item("runtime", "interpreter and libraries", plan.baseline_bytes), *plan.items)
    for item in items:
        changes[item.kind][0] += item.nbytes
    for buffer in plan.buffers:
        first, last = lifetime(buffer, count)
        changes[buffer.kind][first] += buffer.nbytes
        changes[buffer.kind][last + 1] -= buffer.nbytes
    by_kind = {kind: _running(change[:count]) for kind, change in changes.items() if any(change)}
    totals = tuple(sum(series[step] for series in by_kind.values()) for step in range(count))
    peak = max(range(count), key=totals.__getitem__)
    alive = [Item(b.kind, b.name, b.nbytes) for b in plan.buffers if _alive(b, peak, count)]
    contributors = sorted([*items, *alive], key=lambda item: -item.nbytes)
    reserved = sum(item.nbytes for item in items) + plan.arena_bytes
    return Timeline(steps, by_kind, totals, peak, tuple(contributors), max(reserved, totals[peak]))


def lifetime(buffer: Buffer, count: int) -> tuple[int, int]:
    """First and last step of a buffer, held inside the steps there are."""
    return max(0, min(buffer.first, count - 1)), max(0, min(buffer.last, count - 1))


def _alive(buffer: Buffer, step: int, count: int) -> bool:
    first, last = lifetime(buffer, count)
    return first <= step <= last


def _running(changes: list[int]) -> tuple[int, ...]:
    total, series = 0, []
    for change in changes:
        total += change
        series.append(total)
    return tuple(series)
