"""What a run on the board says about itself: recorded once, rendered as terminal table, SVG, HTML and JSON.

A number that was not measured, or cannot be trusted, is a `Reading` without value and with the reason; no renderer ever
fills such a gap. All memory is in bytes, all times are in milliseconds, all accuracies and sparsities lie in 0 to 1.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from edge.errors import DamagedError, InputError
from edge.files.decode import decode
from edge.files.durable import replaced_text
from edge.plan.footprint import Alternative, Buffer, Item
from edge.tasks.metric import Metric
from edge.tasks.registry import CLASSIFICATION, TASKS

SCHEMA = "mest-record/1"
LEFT_OUT = {"left out": True}  # of a field that a record does not state where it has its default


@dataclass(frozen=True)
class Reading:
    """A measured number, or None with the reason why there is none that could be trusted."""

    value: float | int | None
    reason: str | None = None

    def __post_init__(self) -> None:
        if (self.value is None) == (self.reason is None):
            raise ValueError("a reading has either a value or a reason for having none")


@dataclass(frozen=True)
class Plan:
    """What the process was going to hold, byte by byte, before it started.

    `items` lie outside the arena for the whole run; `buffers` share the arena, alive from `first` to `last` of `steps`.
    `naive_bytes` is what the arena would be without any reuse. `phases` are planned resident peaks of the whole process
    by phase (load, evaluate, train, mutate, save), where the planner tells them apart. `notes` say what was chosen,
    and what each choice costs, one sentence each.

    What only some records state: `offsets`, where each buffer lies in the arena; `uses`, the steps that touch each
    buffer, in ascending order; `alternatives`, plans that would need less, the one that saves most first.
    """

    baseline_bytes: int
    peak_bytes: int
    arena_bytes: int
    naive_bytes: int
    items: tuple[Item, ...] = ()
    buffers: tuple[Buffer, ...] = ()
    steps: tuple[str, ...] = ()
    phases: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    offsets: tuple[int, ...] = field(default=(), metadata=LEFT_OUT)
    uses: tuple[tuple[int, ...], ...] = field(default=(), metadata=LEFT_OUT)
    alternatives: tuple[Alternative, ...] = field(default=(), metadata=LEFT_OUT)

    def __post_init__(self) -> None:
        for name in ("offsets", "uses"):
            found = len(getattr(self, name))
            if found not in (0, len(self.buffers)):
                raise ValueError(f"{name} of {found} buffers, and {len(self.buffers)} buffers")
        for buffer, offset in zip(self.buffers, self.offsets, strict=False):
            if not 0 <= offset <= self.arena_bytes - buffer.nbytes:
                raise ValueError(f"buffer {buffer.name!r}: {buffer.nbytes} bytes at {offset}, outside the arena")

    def to_json(self) -> dict[str, Any]:
        """The plan as a record has it, in plain JSON values."""
        document: dict[str, Any] = _plain(self)
        return document


@dataclass(frozen=True)
class Limit:
    """The strongest limit that the system granted: `kind` as in "cgroup v2", "RLIMIT_DATA" or "none"."""

    kind: str
    guarantee: str
    nbytes: int | None = None


@dataclass(frozen=True)
class Measured:
    """What the kernel counted: resident bytes of the whole process, interpreter and libraries included.

    `peak_bytes` is the maximum since the process began; `phases` holds the peak of each phase that ran, by name (load,
    evaluate, train, mutate, save), each counted from a reset of the kernel's high-water mark.
    """

    baseline_bytes: Reading
    peak_bytes: Reading
    swap_peak_bytes: Reading
    limit: Limit
    phases: dict[str, Reading] = field(default_factory=dict)
    allocator: str = "unknown"


@dataclass(frozen=True)
class StepPoint:
    """One training step of a curve: mean loss over its batch and its duration."""

    step: int
    loss: float
    milliseconds: float
    learning_rate: float | None = None


@dataclass(frozen=True)
class EpochPoint:
    """The state after one epoch: mean training loss, and accuracy on the held-out samples where it was taken."""

    epoch: int
    loss: float
    accuracy: float | None = None
    train_accuracy: float | None = None


@dataclass(frozen=True)
class MutationPoint:
    """One mutation: weights removed and grown over all layers before the step that follows."""

    step: int
    removed: int
    grown: int


@dataclass(frozen=True)
class Training:
    """What the steps did. `steps` may be thinned to a few hundred points; `step_count` is the true number.

    What is called accuracy, here and in `epochs`, is the first metric of `task`; `metrics_after` has all of them where
    samples have no classes.
    """

    step_count: int
    step_ms_median: Reading
    accuracy_before: Reading
    accuracy_after: Reading
    sparsity: Reading
    zeros_kept: bool | None = None
    steps: tuple[StepPoint, ...] = ()
    epochs: tuple[EpochPoint, ...] = ()
    mutations: tuple[MutationPoint, ...] = ()
    samples_train: int | None = None
    samples_held_out: int | None = None
    stopped_early: str | None = None
    task: str = field(default=CLASSIFICATION.name, metadata=LEFT_OUT)
    metrics_after: dict[str, float] = field(default_factory=dict, metadata=LEFT_OUT)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"task {self.task!r}; known: {', '.join(TASKS)}")

    @property
    def metric(self) -> Metric:
        """What is called accuracy here."""
        return TASKS[self.task].metric


@dataclass(frozen=True)
class OperatorCost:
    """Time and memory of one operator in one direction ("forward", "recomputed", "backward" or "update").

    `milliseconds` is the median over the profiled steps; `nbytes` counts what the operator writes or owns.
    """

    name: str
    op: str
    direction: str
    milliseconds: float
    nbytes: int | None = None


@dataclass(frozen=True)
class Profile:
    """Time of a step and by operator. `source` says how it was measured, or why an engine can show less.

    `step_ms_median` is taken over as many steps again, without the clocks inside.
    """

    source: str
    steps: int
    step_ms_median: Reading
    operators: tuple[OperatorCost, ...] = ()


@dataclass(frozen=True)
class Record:
    """One run of one command on one board, complete enough that every report is drawn from it alone.

    `board` is the object that `mest board --json` prints; `choices` the fields of `edge.plan.choices.Choices`.
    """

    command: str
    created: str  # ISO 8601, with offset
    network: str  # a name for a person: the artifact directory's or the model's
    engine: str
    engine_reason: str
    board: dict[str, Any]
    choices: dict[str, Any]
    plan: Plan
    measured: Measured
    budget_bytes: int | None = None
    training: Training | None = None
    profile: Profile | None = None
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def within_budget(self) -> bool | None:
        """True if the measured peak stayed within the budget without swap; None without budget or measurement."""
        peak, swap = self.measured.peak_bytes.value, self.measured.swap_peak_bytes.value
        if self.budget_bytes is None or peak is None:
            return None
        return peak <= self.budget_bytes and not swap

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values, under its schema."""
        document: dict[str, Any] = _plain(self)
        return {"schema": SCHEMA, **document}

    @classmethod
    def from_json(cls, document: Any) -> Record:
        """The record that `to_json` wrote; raises DamagedError naming the first field that does not fit."""
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            found = document.get("schema") if isinstance(document, dict) else type(document).__name__
            raise DamagedError(f"record: schema {found!r}; this version reads {SCHEMA!r}")
        return decode(cls, {key: value for key, value in document.items() if key != "schema"}, "record")


def write_record(record: Record, path: Path) -> None:
    """Write the record as one JSON file, whole or not at all."""
    with replaced_text(path) as file:  # piece by piece: neither the text nor its objects are held whole
        json.dump({"schema": SCHEMA, **_shallow(record)}, file, indent=1, allow_nan=False, default=_shallow)
        file.write("\n")


def _shallow(value: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, those inside it as they are."""
    if not is_dataclass(value):
        raise TypeError(f"{type(value).__name__} has no place in a record")
    return {one.name: getattr(value, one.name) for one in fields(value) if not _unstated(one, getattr(value, one.name))}


def _unstated(one: Field[Any], value: Any) -> bool:
    default = one.default_factory() if one.default_factory is not MISSING else one.default
    return "left out" in one.metadata and value == default


def _plain(value: Any) -> Any:
    """The value as plain JSON values, without what it does not state."""
    if is_dataclass(value):
        value = _shallow(value)
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return type(value)(_plain(one) for one in value) if isinstance(value, list | tuple) else value


def read_record(path: Path) -> Record:
    """The record of a file; raises InputError if it is missing and DamagedError if it is not one of ours."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; a run writes its record.json beside its state") from None
    except UnicodeDecodeError:
        raise DamagedError(f"{path}: not text; expected the record.json of a run") from None
    try:
        document = json.loads(text)
    except ValueError as broken:
        raise DamagedError(f"{path}: not JSON ({broken}); expected the record.json of a run") from None
    return Record.from_json(document)
