"""The compiled plan as a file: written from an opened engine, read again for what programs on the workstation need.

Its structs are declared in `edge.libmest.plan_file`; docs/without-python.md describes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from ctypes import Structure, sizeof
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.compiled.mutating import Mutating
from edge.compiled.places import ALIGNMENT, Places
from edge.data.preprocess import Preprocess
from edge.engines.native.addresses import Lowered
from edge.engines.native.engine import NativeEngine
from edge.engines.native.snapshots import arrays_of
from edge.errors import DamagedError, InputError
from edge.files.digest import sha256
from edge.files.durable import write_durably
from edge.files.fields import Fields, parse_json
from edge.libmest import plan_file, program
from edge.libmest.vocabulary import TENSORS
from edge.plan.process import STACK_BYTES, MemoryPlan
from edge.run.recording import planned
from edge.run.settings import Settings

_REMEDY = "copy the file again, or compile it again"
_SETTINGS = (
    "seed",
    "learning_rate",
    "warmup",
    "hold_out",
    "epochs",
    "save_every",
    "mutate_every",
    "gradient_weight",
    "gamma",
    "patience",
    "drop_after",
)
MOST_FACTS_BYTES = 64 << 20


@dataclass(frozen=True)
class Compiled:
    """What a compiled plan says of itself. `sha256` is the file's digest, as states of it name it."""

    path: Path
    head: plan_file.Plan
    facts: dict[str, Any]
    class_names: tuple[str, ...]
    preprocess: Preprocess

    @property
    def sha256(self) -> tuple[int, ...]:
        """The digest as four numbers."""
        return digest_fields(self.head, "sha256")


def write_plan(
    path: Path,
    engine: NativeEngine,
    plan: MemoryPlan,
    settings: Settings,
    budget_bytes: int | None,
    facts: Facts,
    mutating: Mutating,
    picture_bytes: int = 0,
) -> plan_file.Plan:
    """Write what an opened engine is, and the beginning of the file that was written.

    A picture may take the arena to decode, or `picture_bytes` where that is more.
    """
    programs = [(0, engine.prediction), *((1, lowered) for lowered in engine.training.values())]
    places = Places((one for _, lowered in programs for one in lowered.tables["operand"]), mutating.lists())
    file = _File()
    head = file.reserve(plan_file.Plan)
    rows = [_program_row(file, lowered, trains, places) for trains, lowered in programs]
    head.programs_at, head.program_count = file.add(b"".join(map(bytes, rows))), len(rows)
    head.tensors_at, head.tensors_stored = file.add(places.tensors), len(places.tensors)
    head.lists_at, head.lists_bytes = file.add(places.lists), len(places.lists)
    head.mutated_bytes = places.mutated_bytes if mutating.weights else 0
    head.weights_at, head.weight_count = _rows(file, mutating.rows(places)), len(mutating.weights)
    head.phases_at, head.phase_count = _rows(file, mutating.phases), len(mutating.phases)
    head.units_at = _rows(file, mutating.units)
    head.milestones_at = file.add(np.array(settings.milestones, "<i8").tobytes())
    head.milestone_count = len(settings.milestones)
    head.tensors_bytes, head.arena_bytes = places.tensors_bytes, engine.arena.size
    arrays = _arrays(file, engine, places, mutating)
    named = {"facts": _json({**facts.to_json(), **arrays, **_described(engine, plan, settings)})}
    recorded = {"network": facts.network, "choices": asdict(plan.choices), "plan": planned(plan).to_json()}
    named |= {"record": _json(recorded)[1:-1]}
    named |= {"chosen": _json(plan.chosen()), "names": b"".join(name.encode() + b"\0" for name in facts.class_names)}
    for name, content in named.items():
        setattr(head, f"{name}_at", file.add(content))
        setattr(head, f"{name}_bytes", len(content))
    channels, height, width = facts.shape
    preprocess = facts.preprocess
    head.normalise_at = file.add(np.array([preprocess.mean, preprocess.std], "<f4").tobytes())
    head.stack_bytes, head.planned_peak_bytes, head.budget_bytes = STACK_BYTES, plan.peak_bytes, budget_bytes or 0
    for name in _SETTINGS:
        setattr(head, name, getattr(settings, name))
    head.schedule = plan_file.SCHEDULES.index(settings.schedule)
    head.augment = plan_file.AUGMENTS.index(settings.augment)
    choices = plan.choices
    head.batch_size, head.micro_batch, head.threads = choices.batch_size, choices.micro_batch, choices.threads
    head.sparsity, head.classes, head.images = facts.sparsity, len(facts.class_names), int(preprocess.takes_images)
    head.channels, head.height, head.width = channels, height, width
    head.picture_bytes = max(engine.arena.size, picture_bytes)
    _preprocessing(head, preprocess)
    head.magic, head.version, head.declared = plan_file.PLAN_MAGIC, plan_file.VERSION, plan_file.digest()
    write_durably(path, sealed(head, file.content))
    return head


def _preprocessing(head: plan_file.Plan, preprocess: Preprocess) -> None:
    """How a picture becomes a sample."""
    if not preprocess.takes_images:
        return
    if isinstance(preprocess.resize, int):
        head.resize_short = preprocess.resize
    elif preprocess.resize is not None:
        head.resize_height, head.resize_width = preprocess.resize
    if preprocess.crop is not None:
        head.crop_height, head.crop_width = preprocess.crop
    head.interpolation = plan_file.INTERPOLATIONS.index(preprocess.interpolation)


def read_plan(path: Path) -> Compiled:
    """What a compiled plan says; raises InputError where there is none, DamagedError where it was altered."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give what 'mest compile' wrote") from None
    head = opened(path, content, plan_file.Plan, plan_file.PLAN_MAGIC, "compiled plan", _REMEDY)
    if head.facts_at < 0 or not 0 <= head.facts_bytes <= MOST_FACTS_BYTES:
        raise DamagedError(f"{path}: holds a number out of its range; {_REMEDY}")
    text = content[head.facts_at : head.facts_at + head.facts_bytes]
    facts = Fields(parse_json(text, str(path), _REMEDY), str(path), "facts", _REMEDY)
    known = facts.mapping("preprocess")
    parts = {name: facts.mapping(name) for name in ("artifact", "choices", "tensors", "fixed", "counts")}
    return Compiled(
        path,
        head,
        {"preprocess": known, "engine": facts.text("engine"), **parts},
        facts.texts("class_names"),
        Preprocess.from_json(known),
    )


@dataclass(frozen=True)
class Facts:
    """What a plan is compiled from: the artifact and what it says of its inputs and classes."""

    network: str  # its name for a person, as a record has it

    artifact: Mapping[str, Any]  # as a state names it
    class_names: tuple[str, ...]
    preprocess: Preprocess
    shape: tuple[int, int, int]
    sparsity: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "artifact": dict(self.artifact),
            "class_names": list(self.class_names),
            "preprocess": asdict(self.preprocess),
            "input": list(self.shape),
            "sparsity": self.sparsity,
        }


def sealed(head: Structure, content: bytes) -> bytes:
    """A file whose first bytes are reserved for its head, with its size and digest in that."""
    head.nbytes = len(content)
    for part in plan_file.DIGEST_FIELDS:
        setattr(head, f"sha256_{part}", 0)
    digest = sha256()
    digest.update(bytes(head) + content[sizeof(head) :])
    raw = bytes.fromhex(digest.hexdigest())
    for number, part in enumerate(plan_file.DIGEST_FIELDS):
        setattr(head, f"sha256_{part}", int.from_bytes(raw[8 * number : 8 * number + 8], "little", signed=True))
    return bytes(head) + content[sizeof(head) :]


def opened(path: Path, content: bytes, kind: Any, magic: int, called: str, remedy: str) -> Any:
    """The head of a file that `sealed` made, once it was seen to be whole; raises DamagedError."""
    if len(content) < sizeof(kind) or int.from_bytes(content[:8], "little", signed=True) != magic:
        raise DamagedError(f"{path}: is no {called}; {remedy}")
    head = kind.from_buffer_copy(content)
    if head.version != plan_file.VERSION or head.declared != plan_file.digest():
        raise DamagedError(f"{path}: was written by another version of mest; {remedy}")
    wanted, nbytes = digest_fields(head, "sha256"), head.nbytes
    sealed(head, content)
    if nbytes != len(content) or digest_fields(head, "sha256") != wanted:
        raise DamagedError(f"{path}: does not match its SHA-256; {remedy}")
    return head


def digest_fields(head: Structure, prefix: str) -> tuple[int, ...]:
    """A digest in a head, as its four numbers."""
    return tuple(getattr(head, f"{prefix}_{part}") for part in plan_file.DIGEST_FIELDS)


class _File:
    """A file, or a part of one, being put together."""

    def __init__(self) -> None:
        self._parts = bytearray()

    @property
    def content(self) -> bytes:
        return bytes(self._parts)

    def reserve(self, kind: Any) -> Any:
        """An empty struct, with room for it at the beginning."""
        self._parts += bytes(sizeof(kind))
        return kind()

    def add(self, content: bytes, alignment: int = ALIGNMENT) -> int:
        """Where some content lies, once it is there."""
        self._parts += bytes(-len(self._parts) % alignment)
        at = len(self._parts)
        self._parts += content
        return at


def _program_row(file: _File, lowered: Lowered, trains: int, places: Places) -> plan_file.PlanProgram:
    """A program, with its tables in a part of the file."""
    row, part = plan_file.PlanProgram(trains=trains, start=lowered.start, body=lowered.body), _File()
    offsets = dict(plan_file.tables())
    for name, _ in program.Program._fields_:
        if name not in offsets and name not in ("arena", "tensors", "lists"):
            setattr(row, name, getattr(lowered.program, name))
    for name in offsets:
        table = lowered.tables[name if name == "steps" else name[:-1]]
        held = [places.moved(one) for one in table] if name == "operands" else table
        setattr(row, name, part.add(b"".join(map(bytes, held)), plan_file.ROW_ALIGNMENT))
    row.part_at, row.part_bytes = file.add(part.content), len(part.content)
    return row


def _rows(file: _File, rows: Sequence[Structure]) -> int:
    return file.add(b"".join(map(bytes, rows)))


def _arrays(file: _File, engine: NativeEngine, places: Places, mutating: Mutating) -> dict[str, Any]:
    """Where each array of a snapshot lies: in what a state holds, or in the file where nothing changes it.

    A state holds the tensors and behind them the lists that mutate.
    """
    tensors, fixed = {}, {}
    for name, array in arrays_of(engine.tensors).items():
        entry = {"dtype": array.dtype.str, "shape": list(array.shape)}
        lies, changes = mutating.place(name, array), mutating.entry(name)
        found = places.find(lies.ctypes.data, lies.nbytes) if lies.size else None
        if found is not None and found[0] == TENSORS:
            tensors[name] = {**entry, **changes, "offset": found[1]}
        elif found is not None and changes:
            tensors[name] = {**entry, **changes, "offset": places.tensors_bytes + found[1]}
        else:
            fixed[name] = {**entry, "offset": file.add(array.tobytes())}
    return {
        "tensors": tensors,
        "fixed": fixed,
        "counts": {"offset": places.tensors_bytes, "weights": len(mutating.weights)},
    }


def _described(engine: NativeEngine, plan: MemoryPlan, settings: Settings) -> dict[str, Any]:
    """The plan, for programs."""
    return {
        "engine": engine.name,
        "planned_peak_bytes": plan.peak_bytes,
        "arena_bytes": plan.footprint.arena.nbytes,
        "contributors": [{"name": name, "bytes": nbytes} for name, nbytes in plan.contributors()],
        "plan": plan.chosen(),
        "batch_size": plan.choices.batch_size,
        "choices": asdict(plan.choices),
        "settings": asdict(settings),
    }


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, allow_nan=False).encode()
