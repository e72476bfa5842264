"""The state directory: everything that the next step depends on, written whole or not at all.

`tensors-N.bin` holds generation N's arrays; `state.json` names them, carries their SHA-256 and is replaced last, in one
rename. So a process that is killed at any moment, or a power cut, leaves the previous generation or the new one.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import DamagedError, InputError
from edge.files.arrays import StoredTensors, write_arrays
from edge.files.digest import sha256
from edge.files.durable import replaced_text
from edge.handover.facts import Facts, read_body
from edge.spelling import named

SCHEMA = "mest-state/1"
STATE_FILE = "state.json"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})


@dataclass(frozen=True)
class State:
    """One complete generation.

    `tensors` are the engine's snapshot; `facts` is plain JSON: engine, choices, position, settings, accuracy, artifact.
    """

    generation: int
    facts: dict[str, Any]
    tensors: dict[str, np.ndarray] = field(repr=False)


def write_state(folder: Path, facts: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> int:
    """The number of the new generation, durable when this returns.

    Raises InputError on a full disk, and for facts that are no plain JSON, such as a number that is not finite.
    """
    before = last_generation(folder)
    try:
        json.dumps(dict(facts), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{folder}: facts that are no plain JSON ({error}); nothing was saved") from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        generation = before + 1
        name = f"tensors-{generation}.bin"
        entries, nbytes, digest = write_arrays(folder / name, tensors)
        body: dict[str, Any] = {
            "schema": SCHEMA,
            "generation": generation,
            "facts": dict(facts),
            "tensors": {"file": name, "bytes": nbytes, "sha256": digest, "entries": entries},
        }
        body["check"] = _check(body)
        with replaced_text(folder / STATE_FILE) as file:
            json.dump(body, file, indent=1, allow_nan=False)  # in parts: the text of a thousand tensors is large
        _clean(folder, keep=name)
    except OSError as error:
        if error.errno in _FULL:
            left = (
                f"the state before it, generation {before}, is untouched; make room and continue with "
                f"{named('resume', True)}"
                if before
                else "nothing was saved before; make room and start again"
            )
            raise InputError(f"{folder}: {os.strerror(error.errno or 0)} while the state was saved; {left}") from None
        raise
    return generation


def read_state(path: Path) -> State:
    """The last complete generation. Raises InputError if there is none, DamagedError if it was altered."""
    generation, facts, stored = _stored(path)
    return State(generation, facts, dict(stored))


def stored_tensors(path: Path) -> StoredTensors:
    """The arrays of the last complete generation, left on the disk until they are asked for; raises as `read_state`."""
    return _stored(path)[2]


def _stored(path: Path) -> tuple[int, Facts, StoredTensors]:
    """The description of the last complete generation and its arrays; a writer may replace both meanwhile."""
    while True:
        generation, facts, described = _read_description(path)
        try:
            return generation, facts, StoredTensors(path / described["file"], described)
        except DamagedError:
            if last_generation(path) == generation:
                raise


def read_facts(path: Path) -> Facts:
    """What a state says about itself, without its tensors; asking for a missing fact raises DamagedError."""
    return _read_description(path)[1]


def is_state(path: Path) -> bool:
    """True if the folder holds a state, whole or damaged."""
    return (path / STATE_FILE).is_file()


def remove_state(path: Path) -> None:
    """Remove a state and its folder, its description first; nothing happens where there is none."""
    if path.is_dir():
        for file in sorted(path.iterdir()):  # state.json before tensors-N.bin
            file.unlink()
        path.rmdir()


def _read_description(path: Path) -> tuple[int, Facts, dict[str, Any]]:
    file = path / STATE_FILE
    try:
        body = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: holds no saved state; start without {named('resume')}") from None
    except (ValueError, RecursionError):
        raise DamagedError(f"{file}: is not JSON; the state was truncated or altered") from None
    if not isinstance(body, dict) or body.get("schema") != SCHEMA:
        raise DamagedError(f"{file}: is not a state of schema {SCHEMA}")
    check = body.pop("check", None)
    if check != _check(body):
        raise DamagedError(f"{file}: does not match its own SHA-256; it was altered")
    return read_body(body, str(file))


def _check(body: Mapping[str, Any]) -> str:
    digest = sha256()
    digest.update(json.dumps(body, sort_keys=True).encode())
    return str(digest.hexdigest())


def last_generation(folder: Path) -> int:
    """The generation that state.json names, or 0; a damaged one raises, so that it is never written over."""
    return _read_description(folder)[0] if is_state(folder) else 0


def _clean(folder: Path, keep: str) -> None:
    """Remove older generations and what a killed write left."""
    for file in folder.iterdir():
        if file.name != keep and (file.name.startswith("tensors-") or file.name.startswith(f"{STATE_FILE}.")):
            file.unlink(missing_ok=True)
