"""A state of a process without Python brought home: the same arrays in a state directory, for every command of mest."""

from __future__ import annotations

from ctypes import sizeof
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edge.compiled.plan import Compiled, digest_fields, opened
from edge.errors import DamagedError, InputError
from edge.handover.state import is_state, write_state
from edge.libmest import plan_file

_REMEDY = "copy the file again"
_ROOM = 64  # marks are padded to this, as src/library/forgetting.c has them
_STEPS = "optimizer/steps"  # as the native engine has it


def bring_home(compiled: Compiled, path: Path, out: Path) -> dict[str, Any]:
    """Write a state of the program as a state directory; where it was: steps, and epochs behind it.

    Raises InputError where there is no state, where it is of another plan, or where `out` holds one already;
    DamagedError where it was altered.
    """
    if is_state(out):
        raise InputError(f"{out}: holds a state already; give another folder")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give the state that 'mest-run train' wrote") from None
    head = opened(path, content, plan_file.State, plan_file.STATE_MAGIC, "state of mest-run", _REMEDY)
    if digest_fields(head, "plan") != compiled.sha256:
        raise InputError(f"{path}: was trained from another plan than {compiled.path}; give that one")
    arrays = held(compiled, path, behind_marks(compiled, head, content))
    whole = memoryview(compiled.path.read_bytes())
    arrays |= {name: _array(compiled.path, whole, entry) for name, entry in compiled.facts["fixed"].items()}
    arrays[_STEPS] = np.array([head.updates], np.int64)
    facts = {name: compiled.facts[name] for name in ("artifact", "engine", "choices")}
    facts |= {"class_names": list(compiled.class_names), "steps": head.step, "off_target": bool(head.off_target)}
    write_state(out, facts, arrays)
    return {"steps": head.step, "epochs": head.epoch}


def behind_marks(compiled: Compiled, head: plan_file.State, content: bytes) -> memoryview:
    """What stands behind the head of a state, and the marks of its samples where its plan drops some."""
    marks = -(-head.samples // _ROOM) * _ROOM if compiled.head.drop_after else 0
    return memoryview(content)[sizeof(plan_file.State) + marks :]


def held(compiled: Compiled, path: Path, block: memoryview) -> dict[str, np.ndarray]:
    """The arrays of what a state of the program holds behind its head; raises DamagedError where one is outside it."""
    known = compiled.facts["counts"]
    counts = _array(path, block, {"dtype": "<i8", "shape": [known["weights"]], "offset": known["offset"]})
    found = {}
    for name, entry in compiled.facts["tensors"].items():
        if "count" in entry:
            entry = {**entry, "shape": [int(counts[entry["count"]]) // entry["values"]]}
        array = _array(path, block, entry)
        found[name] = array // array.dtype.type(entry["of_each"]) if "of_each" in entry else array
    return found


def _array(path: Path, block: memoryview, entry: Any) -> np.ndarray:
    """An array of a block, as the plan's facts describe it; raises DamagedError where it does not lie within."""
    try:
        dtype, shape, offset = (
            np.dtype(entry["dtype"]),
            tuple(int(size) for size in entry["shape"]),
            int(entry["offset"]),
        )
    except (KeyError, TypeError, ValueError):
        raise DamagedError(f"{path}: describes arrays that are none; {_REMEDY}") from None
    count = prod(shape)
    good = dtype.kind in "iuf" and min((*shape, offset)) >= 0
    if not good or offset + count * dtype.itemsize > len(block):
        raise DamagedError(f"{path}: names arrays outside it; {_REMEDY}")
    return np.frombuffer(block, dtype, count, offset).reshape(shape)
