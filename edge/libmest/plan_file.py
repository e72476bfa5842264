"""The files of a process without Python, declared once: the compiled plan, the data that it trains on, its state.

`python -m edge.libmest.header` writes src/library/plan_file.h from it. All numbers are little-endian; every struct lies
at a multiple of 8 bytes, and offsets count from the beginning of a file where nothing else is said.
docs/without-python.md describes the files.
"""

from __future__ import annotations

from ctypes import Structure

from edge.libmest import declared, program
from edge.libmest.declared import Enum, Field, Struct

SCHEDULES = ("constant", "linear", "cosine", "step")  # as edge/run/rate.py has them
AUGMENTS = ("none", "flip", "crop", "crop-flip")  # as edge/data/batches.py has them
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")  # as edge/data/preprocess.py has them
NUMBERS = ("uint8", "int16", "float32")  # of which a sample may consist
ENUMS = (
    Enum("SCHEDULE_", SCHEDULES, count="SCHEDULES"),
    Enum("AUGMENT_", tuple(name.replace("-", "_") for name in AUGMENTS), count="AUGMENTS"),
    Enum("NUMBERS_", NUMBERS, count="NUMBERS"),
    Enum("INTERPOLATION_", INTERPOLATIONS, count="INTERPOLATIONS"),
)
VERSION = 1
ROW_ALIGNMENT = 8  # of tables
PLAN_MAGIC, DATA_MAGIC, STATE_MAGIC = (
    int.from_bytes(text, "little") for text in (b"mestplan", b"mestdata", b"mestrun1")
)
CONSTANTS = {
    "FILE_VERSION": VERSION,
    "MOST_CLASSES": 1 << 16,
    "MOST_BLOCK_BITS": 44,  # of the bytes of a block, so that sums of some of them fit
    "MOST_INPUT": 1 << 28,  # numbers of a sample
    "MOST_BATCH": 1 << 20,
    "MOST_THREADS": 1 << 10,
    "MOST_PHASES": 1 << 10,
    "MOST_MILESTONES": 1 << 10,
}
DIGEST_FIELDS = ("a", "b", "c", "d")  # of a SHA-256: four numbers


def _sha256(prefix: str, comment: str) -> Field:
    return Field("int64_t", " ".join(f"{prefix}_{part}" for part in DIGEST_FIELDS), comment)


# How a run is trained, apart from its plan: as compiled, and in a state as it was begun.
_SETTINGS = (
    Field("int64_t", "seed"),
    Field("double", "learning_rate warmup hold_out"),
    Field("int32_t", "epochs schedule save_every augment"),
    Field("int32_t", "patience drop_after", "epochs; 0: the run ends at its end, and no sample is dropped"),
)
_HEAD = (
    Field("int64_t", "magic version"),
    Field("int64_t", "declared", "MEST_FILES_DIGEST of whoever wrote it"),
    Field("int64_t", "nbytes", "of the file"),
    _sha256("sha256", "of the file, these four zero"),
)
PLAN = Struct(
    "Plan",
    "The beginning of a compiled plan.",
    (
        *_HEAD,
        Field("int64_t", "facts_at facts_bytes", "JSON: all that is for programs on the workstation"),
        Field("int64_t", "chosen_at chosen_bytes", "JSON: the choices, as finetune prints them"),
        Field("int64_t", "record_at record_bytes", "JSON: what is planned, fields of a record without its braces"),
        Field("int64_t", "names_at names_bytes", "class names, each ended by a zero"),
        Field("int64_t", "normalise_at", "floats: means, then deviations, one each per channel"),
        Field("int64_t", "programs_at program_count"),
        Field("int64_t", "tensors_at tensors_stored tensors_bytes", "those behind the stored ones begin as zeros"),
        Field("int64_t", "lists_at lists_bytes"),
        Field(
            "int64_t",
            "mutated_bytes",
            "of the lists, the first: a count of values for each weight that mutates, and lists",
        ),
        Field("int64_t", "weights_at weight_count phases_at phase_count", "of a mutation; 0: none mutates"),
        Field("int64_t", "units_at", "[phase][weight]"),
        Field("int64_t", "mutate_every", "steps"),
        Field("double", "gradient_weight", "of the gradient in a score"),
        Field(
            "int64_t",
            "milestones_at milestone_count",
            "epochs, of schedule step; 0: the published ones, scaled to the run",
        ),
        Field("double", "gamma", "what step multiplies the rate by at each of them"),
        Field("int64_t", "arena_bytes stack_bytes planned_peak_bytes"),
        Field("int64_t", "picture_bytes", "for decoding one, the arena and what is behind it"),
        Field("int64_t", "budget_bytes", "0: none"),
        *_SETTINGS,
        Field("double", "sparsity"),
        Field("int32_t", "batch_size micro_batch threads classes"),
        Field("int32_t", "channels height width"),
        Field("int32_t", "images", "1: samples are pixels on the scale 0 to 255"),
        Field("int32_t", "resize_short", "of pictures: what their short side becomes; 0: nothing of the kind"),
        Field("int32_t", "resize_height resize_width", "or what they become; 0: nothing of the kind"),
        Field("int32_t", "crop_height crop_width", "then their centre; 0: all"),
        Field("int32_t", "interpolation"),
    ),
)
_PROGRAM = next(struct for struct in program.STRUCTS if struct.name == "Program")
PLAN_PROGRAM = Struct(
    "PlanProgram",
    "A program in a compiled plan, for pieces of groups x samples: MestProgram with offsets for pointers, which count "
    "from the beginning of the part of the file that holds its tables.",
    (
        Field("int64_t", "part_at part_bytes"),
        *(Field("int64_t", field.names, field.comment) if field.kind[0] == "&" else field for field in _PROGRAM.fields),
        Field("int32_t", "trains", "0: it predicts"),
        Field("int32_t", "start body", "of a training program: what is repeated for every piece"),
    ),
)
_WEIGHT = next(struct for struct in program.STRUCTS if struct.name == "Weight")
PLAN_WEIGHT = Struct(
    "PlanWeight",
    "A weight that mutates: MestWeight with offsets for pointers, into the tensors and, from `starts` on, into the "
    "lists; -1 for a part that it lacks. Its count stands in front of the lists.",
    tuple(Field("int64_t", field.names, field.comment) if field.kind[0] == "&" else field for field in _WEIGHT.fields),
)
PLAN_PHASE = Struct(
    "PlanPhase",
    "A phase of a run that mutates.",
    (
        Field("double", "until", "which share of the run is done"),
        Field("int32_t", "moves", "1: weights move whenever that is due; 0: once, to come to the target"),
        Field("int32_t", "at_target", "1: the network is at its target after a mutation"),
    ),
)
PLAN_UNITS = Struct(
    "PlanUnits",
    "What a mutation makes of a weight.",
    (Field("int64_t", "left grown", "units after pruning, and after growing"),),
)
DATA = Struct(
    "Data",
    "The beginning of a data file; records follow to its end, each a MestSample and the numbers, padded to 8 bytes.",
    (
        Field("int64_t", "magic version"),
        Field("int64_t", "record_bytes"),
        Field("int32_t", "channels height width"),
        Field("int32_t", "numbers"),
        Field("int32_t", "images classes"),
    ),
)
SAMPLE = Struct(
    "Sample",
    "What stands before the numbers [channel][row][column] of a sample.",
    (Field("int32_t", "label"), Field("int32_t", "test", "1: held out")),
)
STATE = Struct(
    "State",
    "The beginning of a state: where a run is. Marks of the samples follow, where some are dropped, the block of "
    "tensors, and the lists that mutate.",
    (
        *_HEAD,
        _sha256("plan", "of the compiled plan"),
        _sha256("data", "of labels and marks"),
        Field("int64_t", "samples step epoch_correct epoch_samples mutations"),
        Field("int64_t", "updates", "of the optimizer: fewer than steps where the run came back to its best epoch"),
        Field("double", "epoch_loss", "sum over the samples of the running epoch"),
        Field("double", "accuracy_before", "not a number where none was held out"),
        Field("double", "best_accuracy", "on what is held out, of the best epoch"),
        *_SETTINGS,
        Field("int32_t", "best_epoch kept_epoch", "0: none; the latter of a run that came back to its weights"),
        Field("int32_t", "waited stopped_early", "epochs without a gain, and 1 where the run ended for them"),
        Field("int32_t", "epoch batch finished"),
        Field("int32_t", "off_target", "1: denser than its target, in the midst of EM&S"),
    ),
)
STRUCTS = (PLAN, PLAN_PROGRAM, PLAN_WEIGHT, PLAN_PHASE, PLAN_UNITS, DATA, SAMPLE, STATE)


def _fields(struct: Struct) -> list[tuple[str, type]]:
    return [pair for field in struct.fields for pair in field.ctypes({})]


class Plan(Structure):
    """The beginning of a compiled plan."""

    _fields_ = _fields(PLAN)


class PlanProgram(Structure):
    """A program in a compiled plan."""

    _fields_ = _fields(PLAN_PROGRAM)


class PlanWeight(Structure):
    """A weight that mutates, in a compiled plan."""

    _fields_ = _fields(PLAN_WEIGHT)


class PlanPhase(Structure):
    """A phase of a run that mutates."""

    _fields_ = _fields(PLAN_PHASE)


class PlanUnits(Structure):
    """What a mutation makes of a weight."""

    _fields_ = _fields(PLAN_UNITS)


class Data(Structure):
    """The beginning of a data file."""

    _fields_ = _fields(DATA)


class Sample(Structure):
    """What stands before the numbers of a sample."""

    _fields_ = _fields(SAMPLE)


class State(Structure):
    """The beginning of a state."""

    _fields_ = _fields(STATE)


CLASSES: dict[str, type[Structure]] = {
    made.__name__: made for made in (Plan, PlanProgram, PlanWeight, PlanPhase, PlanUnits, Data, Sample, State)
}


def tables() -> list[tuple[str, str]]:
    """The tables of a program: the field that says where one lies, and the one that says how many rows it has."""
    found = [field.names for field in _PROGRAM.fields if field.kind.startswith("&const ")]
    return [(name, "count" if name == "steps" else f"{name[:-1]}_count") for name in found]


def digest() -> int:
    """What must be the same on both sides, the program's declarations included, as a number."""
    found = declared.digest(ENUMS, {**CONSTANTS, f"program {program.digest()}": 0}, STRUCTS)
    return int(found[:15], 16)
