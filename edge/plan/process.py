"""The planned peak of the whole process: everything that it will hold, added up before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge.plan.choices import Choices
from edge.plan.footprint import Footprint, Item, by_kind

# The stack of a worker thread, given to the library and resident from the start. Less than 128 KiB is refused on ARM.
STACK_BYTES = 128 << 10
# What the process gains while it runs, whatever the network: code touched for the first time, the run's own records.
INTERPRETER_GROWTH_BYTES = 1 << 20
MARGIN_BYTES = 1 << 19  # what measured peaks scatter by: heaps have gaps, and a busy machine maps files in other pieces
RECORD_BYTES = 5 << 18  # the code of the record and what it says, in the memory that the engine has given back
MUTATION_CODE_BYTES = 1 << 18  # and what it gains by mutating


@dataclass(frozen=True)
class Surroundings:
    """What a process holds beside its network, its data and its threads, whatever the network, in bytes.

    `record_bytes` are held at the end, in the memory that the engine has given back; `mutation_bytes` where it mutates.
    """

    code_bytes: int
    margin_bytes: int
    record_bytes: int = 0
    mutation_bytes: int = 0


PYTHON = Surroundings(INTERPRETER_GROWTH_BYTES, MARGIN_BYTES, RECORD_BYTES, MUTATION_CODE_BYTES)
_PASSING = ("mutation", "saving")  # kinds that are held only while their phase runs, never at the same time


# Answers that are judged at once, by numbers in them (one sample at least), and the bytes that each number takes then.
JUDGED_NUMBERS, JUDGED_BYTES = 1 << 15, 24


@dataclass(frozen=True)
class DataNeeds:
    """Bytes that reading data takes: per sample of the set, for the decoder, and per batch.

    `answer_bytes` are of the answers to one sample where they are more than a few numbers.
    """

    samples: int = 0
    decoder_bytes: int = 0
    image_bytes: int = 0  # one float32 image
    target_bytes: int = 8  # a label
    answer_bytes: int = 0

    _PER_SAMPLE = 4 + 4 + 20  # split and order, and the keys while an epoch is shuffled; labels are held already

    def items(self, batch_size: int) -> tuple[Item, ...]:
        """The buffers for batches of a size."""
        found = (
            Item("data", "batch", batch_size * (self.image_bytes + self.target_bytes)),
            Item("data", "decoder", self.decoder_bytes),
            Item("data", "labels and order", self.samples * self._PER_SAMPLE),
        )
        if not self.answer_bytes:
            return found
        # Those of a batch, of the piece that it is filled up to, and what judging a few of them holds.
        judged = max(self.answer_bytes // 4, min(JUDGED_NUMBERS, batch_size * self.answer_bytes // 4))
        held = 2 * batch_size * self.answer_bytes + JUDGED_BYTES * judged
        return (*found, Item("data", "answers", held))


@dataclass(frozen=True)
class MemoryPlan:
    """What a run was going to hold, with the choices that make it so.

    `items` lie outside the arena; `passing` is what each phase adds while it runs (only the largest counts).
    `time_cost` is relative to the fastest plan of the same engine; `notes` say what was chosen and what it costs.
    """

    engine: str
    choices: Choices
    footprint: Footprint
    baseline_bytes: int
    items: tuple[Item, ...]
    passing: dict[str, int] = field(default_factory=dict)
    exact: bool = True
    time_cost: float = 1.0
    notes: tuple[str, ...] = ()
    frozen_norms: tuple[str, ...] = ()  # batch norms that pieces of a single sample leave frozen

    @property
    def peak_bytes(self) -> int:
        """The planned resident peak of the process."""
        held = self.baseline_bytes + sum(item.nbytes for item in self.items) + self.footprint.arena.nbytes
        return held + max(self.passing.values(), default=0)

    @property
    def growth_bytes(self) -> int:
        """The planned peak above the baseline."""
        return self.peak_bytes - self.baseline_bytes

    def contributors(self) -> list[tuple[str, int]]:
        """Name and bytes of everything in the peak, largest first: kinds outside the arena, and the arena."""
        parts = [("runtime baseline", self.baseline_bytes), ("arena of a step", self.footprint.arena.nbytes)]
        parts += [(str(kind), nbytes) for kind, nbytes in by_kind(self.items).items()]
        if self.passing:
            parts.append(max(self.passing.items(), key=lambda pair: pair[1]))
        return sorted((part for part in parts if part[1]), key=lambda part: -part[1])

    def chosen(self) -> dict[str, Any]:
        """The choices as the JSON of `finetune` and `plan` has them."""
        return {
            "micro_batch": self.choices.micro_batch,
            "recompute": self.choices.recompute,
            "saved": self.choices.saved,
            "trainable": self.choices.trainable,
            "batch_norm": self.choices.batch_norm,
            "frozen_norms": list(self.frozen_norms),
            "optimizer": self.choices.optimizer.kind,
            "threads": self.choices.threads,
            "exact": self.exact,
            "time_cost": round(self.time_cost, 3),
            "notes": list(self.notes),
        }


def make_plan(
    engine: str,
    choices: Choices,
    footprint: Footprint,
    baseline_bytes: int,
    data: DataNeeds,
    held_bytes: int = 0,
    evaluation_bytes: int = 0,
    exact: bool = True,
    time_cost: float = 1.0,
    notes: tuple[str, ...] = (),
    frozen_norms: tuple[str, ...] = (),
    surroundings: Surroundings = PYTHON,
) -> MemoryPlan:
    """The plan for given choices. `held_bytes` are resident already beside the baseline.

    Items of kind mutation and saving count while their phase runs."""
    held = [item for item in footprint.items if item.kind not in _PASSING]
    held += data.items(choices.batch_size)
    held.append(Item("runtime", "artifact and data index", held_bytes))
    held.append(Item("runtime", "threads", STACK_BYTES * (choices.threads - 1)))
    held.append(Item("runtime", "code and records", surroundings.code_bytes))
    held.append(Item("runtime", "margin", surroundings.margin_bytes))
    if choices.densest_sparsity:
        held.append(Item("runtime", "code of mutation", surroundings.mutation_bytes))
    passing: dict[str, int] = {"evaluation": evaluation_bytes} if evaluation_bytes else {}
    record = surroundings.record_bytes - sum(item.nbytes for item in footprint.items if item.kind not in _PASSING)
    if record > footprint.arena.nbytes:
        passing["record"] = record - footprint.arena.nbytes
    for item in footprint.items:
        if item.kind in _PASSING:
            passing[item.kind] = passing.get(item.kind, 0) + item.nbytes
    return MemoryPlan(
        engine, choices, footprint, baseline_bytes, tuple(held), passing, exact, time_cost, notes, frozen_norms
    )


def phase_peaks(plan: MemoryPlan) -> Mapping[str, int]:
    """Planned resident peak of each phase of a run, in the words of a record."""
    steady = plan.peak_bytes - max(plan.passing.values(), default=0)
    without_arena = steady - plan.footprint.arena.nbytes
    return {
        "load": without_arena,
        "train": steady,
        "evaluate": steady + plan.passing.get("evaluation", 0),
        "mutate": steady + plan.passing.get("mutation", 0),
        "save": steady + max(plan.passing.get("saving", 0), plan.passing.get("record", 0)),
    }
