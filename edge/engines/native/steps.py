"""A step of the planned list before it has addresses: what it reads and writes, each a slot known by its identity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from edge.engines.native.node import Node
from edge.engines.native.rows import NormSpec, Row
from edge.engines.native.slots import GradSpec, Slot, ViewSpec
from edge.plan.footprint import Buffer


@dataclass(frozen=True, slots=True)
class Spec:
    """One step. `numbers` are the plain fields of the C struct, `rows` its entries of tables, by field.

    `channels` names the parameter that lists channels. `all_gradients`: `out` is the array of all gradients.
    """

    op: str
    name: str
    node: Node | None = None
    a: ViewSpec | None = None
    b: ViewSpec | None = None
    g: GradSpec | None = None
    sums: GradSpec | None = None
    out: Slot | None = None
    norm: NormSpec | None = None
    sums_norm: NormSpec | None = None
    scratch: Slot | None = None
    scratch_floats: int = 0
    partial_grads: Slot | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    rows: Mapping[str, Row] = field(default_factory=dict)
    channels: str | None = None
    all_gradients: bool = False

    def entries(self) -> Iterator[tuple[str, Row]]:
        """The fields of the C struct that name rows, with the rows."""
        if self.norm is not None:
            yield "norm", self.norm
        if self.sums_norm is not None:
            yield "sums_norm", self.sums_norm
        yield from self.rows.items()

    def slots(self) -> Iterator[Slot]:
        """Every slot that the step touches."""
        found: list[Slot | None] = []
        for part in (self.a, self.b, self.g, self.sums):
            found += part.slots() if part is not None else ()
        found += (self.out, self.scratch, self.partial_grads)
        for _, row in self.entries():
            found += row.slots()
        return (slot for slot in found if slot is not None)

    def tensors(self) -> Iterator[Slot]:
        """Every slot that the step reads or stores as a tensor of the network."""
        yield from (view.data for view in (self.a, self.b) if view)
        yield from (grad.stored for grad in (self.g, self.sums) if grad and grad.stored)
        if self.out:
            yield self.out

    def with_tensors(self, others: Mapping[Slot, Slot]) -> Spec:
        """The same step with other slots in the place of such tensors."""
        if others.keys().isdisjoint(self.tensors()):
            return self
        return replace(
            self,
            a=self.a and self.a.moved(others),
            b=self.b and self.b.moved(others),
            g=self.g and self.g.moved(others),
            sums=self.sums and self.sums.moved(others),
            out=self.out and others.get(self.out, self.out),
        )


class Steps:
    """The list being written, with the lifetime of every slot that its steps touch."""

    def __init__(self) -> None:
        self.specs: list[Spec] = []
        self._lives: dict[Slot, tuple[int, int]] = {}

    def emit(self, spec: Spec) -> None:
        """Append a step."""
        now = len(self.specs)
        self.specs.append(spec)
        for slot in spec.slots():
            first, _ = self._lives.get(slot, (now, now))
            self._lives[slot] = (first, now)

    def slots(self) -> tuple[Slot, ...]:
        """All slots that a step touches, in order of first use."""
        return tuple(self._lives)

    def buffers(self) -> tuple[Buffer, ...]:
        """The slots with their lifetimes, in the same order."""
        return tuple(
            Buffer(slot.label, slot.kind, slot.nbytes, first, last) for slot, (first, last) in self._lives.items()
        )
