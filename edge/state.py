"""The state directory: everything that the next step depends on, written whole or not at all.

`tensors-N.bin` holds generation N's arrays; `state.json` names them, carries their SHA-256 and is replaced last, in one
rename. So a process that is killed at any moment, or a power cut, leaves the previous generation or the new one.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edge.digest import sha256
from edge.errors import DamagedError, InputError

SCHEMA = "mest-state/1"
STATE_FILE = "state.json"
_ALIGNMENT = 64
_PIECE_BYTES = 1 << 20
_READ_BYTES = 1 << 17
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
    """The number of the new generation, durable when this returns. Raises InputError on a full disk."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        generation = _last_generation(folder) + 1
        name = f"tensors-{generation}.bin"
        entries, nbytes, digest = _write_tensors(folder / name, tensors)
        body: dict[str, Any] = {
            "schema": SCHEMA,
            "generation": generation,
            "facts": dict(facts),
            "tensors": {"file": name, "bytes": nbytes, "sha256": digest, "entries": entries},
        }
        body["check"] = _check(body)
        _write_durably(folder / STATE_FILE, json.dumps(body, indent=1).encode())
        _sync_folder(folder)
        _clean(folder, keep=name)
    except OSError as error:
        if error.errno in _FULL:
            raise InputError(
                f"{folder}: {os.strerror(error.errno or 0)} while the state was saved; the state before it is whole, "
                "make room and continue with --resume"
            ) from None
        raise
    return generation


def read_state(path: Path) -> State:
    """The last complete generation. Raises InputError if there is none, DamagedError if it was altered."""
    body = _read_description(path)
    return State(int(body["generation"]), body["facts"], dict(_stored(path, body)))


def stored_tensors(path: Path) -> StoredTensors:
    """The arrays of the last complete generation, left on the disk until they are asked for; raises as `read_state`."""
    return _stored(path, _read_description(path))


def _stored(path: Path, body: Mapping[str, Any]) -> StoredTensors:
    return StoredTensors(path / body["tensors"]["file"], body["tensors"])


def read_facts(path: Path) -> dict[str, Any]:
    """What a state says about itself, without its tensors."""
    facts: dict[str, Any] = _read_description(path)["facts"]
    return facts


def is_state(path: Path) -> bool:
    """True if the folder holds a state, whole or damaged."""
    return (path / STATE_FILE).is_file()


def remove_state(path: Path) -> None:
    """Remove a state and its folder, its description first; nothing happens where there is none."""
    if path.is_dir():
        for file in sorted(path.iterdir()):  # state.json before tensors-N.bin
            file.unlink()
        path.rmdir()


def _read_description(path: Path) -> dict[str, Any]:
    file = path / STATE_FILE
    try:
        body = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: holds no saved state; start without --resume") from None
    except ValueError:
        raise DamagedError(f"{file}: is not JSON; the state was truncated or altered") from None
    if not isinstance(body, dict) or body.get("schema") != SCHEMA:
        raise DamagedError(f"{file}: is not a state of schema {SCHEMA}")
    check = body.pop("check", None)
    if check != _check(body):
        raise DamagedError(f"{file}: does not match its own SHA-256; it was altered")
    return body


def _check(body: Mapping[str, Any]) -> str:
    digest = sha256()
    digest.update(json.dumps(body, sort_keys=True).encode())
    return str(digest.hexdigest())


def _write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> tuple[list[dict[str, Any]], int, str]:
    entries: list[dict[str, Any]] = []
    digest = sha256()
    partial = path.with_name(path.name + ".part")
    with open(partial, "wb", buffering=0) as file:
        position = 0
        for name in sorted(tensors):
            array = np.ascontiguousarray(tensors[name])
            padding = bytes(-position % _ALIGNMENT)
            position += len(padding)
            entries.append({"name": name, "dtype": array.dtype.str, "shape": list(array.shape), "offset": position})
            raw = array.reshape(-1).view(np.uint8).data
            for piece in (memoryview(padding), *_pieces(raw)):
                digest.update(piece)
                _write_all(file.fileno(), piece)
            position += len(raw)
        os.fsync(file.fileno())
    partial.replace(path)
    return entries, position, str(digest.hexdigest())


def _pieces(raw: memoryview) -> list[memoryview]:
    return [raw[start : start + _PIECE_BYTES] for start in range(0, len(raw), _PIECE_BYTES)]


def _write_all(descriptor: int, piece: memoryview) -> None:
    while len(piece):
        piece = piece[os.write(descriptor, piece) :]


class StoredTensors(Mapping[str, np.ndarray]):
    """The arrays of one generation, each read from the disk whenever it is asked for, so that one at a time is held.

    The file stays open: a generation that is written meanwhile does not take it away. Raises DamagedError at once if
    the file is not what its description says.
    """

    def __init__(self, path: Path, described: Mapping[str, Any]) -> None:
        self._path = path
        self._entries = {entry["name"]: entry for entry in described["entries"]}
        try:
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - open as long as the arrays are asked for
        except FileNotFoundError:
            raise DamagedError(f"{path}: is missing; copy the whole state directory") from None
        try:
            self._check(described)
        except DamagedError:
            self._file.close()
            raise

    def _check(self, described: Mapping[str, Any]) -> None:
        if os.fstat(self._file.fileno()).st_size != described["bytes"]:
            raise DamagedError(f"{self._path}: has another size than state.json says; it was truncated or altered")
        digest, piece = sha256(), memoryview(bytearray(_READ_BYTES))
        while count := self._file.readinto(piece):
            digest.update(piece[:count])
        if digest.hexdigest() != described["sha256"]:
            raise DamagedError(f"{self._path}: does not match its SHA-256; it was altered")

    def __getitem__(self, name: str) -> np.ndarray:
        entry = self._entries[name]
        array = np.empty(entry["shape"], dtype=np.dtype(entry["dtype"]))
        self.read_into(name, array)
        return array

    def read_into(self, name: str, array: np.ndarray) -> None:
        """Fill a contiguous array of the right shape and type, without a copy beside it."""
        entry = self._entries[name]
        if array.dtype != np.dtype(entry["dtype"]) or list(array.shape) != entry["shape"]:
            raise DamagedError(f"{self._path}: {name} is {entry['dtype']} {entry['shape']}, not {array.dtype}")
        position = int(entry["offset"])
        for piece in _pieces(array.reshape(-1).view(np.uint8).data):
            if os.preadv(self._file.fileno(), [piece], position) != len(piece):
                raise DamagedError(f"{self._path}: ends within {name}; it was truncated")
            position += len(piece)

    def form(self, name: str) -> tuple[np.dtype, tuple[int, ...]]:
        """Type and shape of an array."""
        entry = self._entries[name]
        return np.dtype(entry["dtype"]), tuple(entry["shape"])

    def pieces(self, name: str) -> Iterator[np.ndarray]:
        """The array flat, in pieces of at most 64 Ki entries."""
        dtype, shape = self.form(name)
        position, left = int(self._entries[name]["offset"]), prod(shape)
        while left:
            piece = np.empty(min(left, 1 << 16), dtype)
            if os.preadv(self._file.fileno(), [piece.view(np.uint8).data], position) != piece.nbytes:
                raise DamagedError(f"{self._path}: ends within {name}; it was truncated")
            yield piece
            position, left = position + piece.nbytes, left - piece.size

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def without(self, prefix: str) -> StoredTensors:
        """The same arrays but for those whose name begins with `prefix`."""
        found = copy(self)
        found._entries = {name: entry for name, entry in self._entries.items() if not name.startswith(prefix)}
        return found


@dataclass(frozen=True)
class Extent:
    """What an array is, and its least and largest value (0 and -1 where it was not asked for, or nothing is there)."""

    dtype: np.dtype
    shape: tuple[int, ...]
    low: int = 0
    high: int = -1


def extent(tensors: Mapping[str, np.ndarray], name: str, values: bool = False) -> Extent:
    """What an array is, with its least and largest value if `values`; one on the disk is not held whole for that."""
    if isinstance(tensors, StoredTensors):
        dtype, shape = tensors.form(name)
        pieces = tensors.pieces(name) if values else iter(())
    else:
        dtype, shape = tensors[name].dtype, tensors[name].shape
        pieces = iter((tensors[name],) if values else ())
    ends = [(int(piece.min()), int(piece.max())) for piece in pieces if piece.size and piece.dtype.kind in "iu"]
    if not ends:
        return Extent(dtype, shape)
    return Extent(dtype, shape, min(low for low, _ in ends), max(high for _, high in ends))


def _last_generation(folder: Path) -> int:
    """The generation that state.json names, or 0; a damaged one raises, so that it is never written over."""
    return int(_read_description(folder)["generation"]) if is_state(folder) else 0


def _write_durably(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".part")
    with open(partial, "wb", buffering=0) as file:
        _write_all(file.fileno(), memoryview(content))
        os.fsync(file.fileno())
    _sync_folder(path.parent)  # the tensors' name is on the disk before the description that uses it
    partial.replace(path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _clean(folder: Path, keep: str) -> None:
    """Remove older generations and what a killed write left."""
    for file in folder.iterdir():
        if file.name != keep and (file.name.startswith("tensors-") or file.name.startswith(f"{STATE_FILE}.")):
            file.unlink(missing_ok=True)
