"""Many arrays in one file, written whole and read one at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import DamagedError
from edge.files.digest import sha256
from edge.files.durable import replaced, write_all

_ALIGNMENT = 64
_PIECE_BYTES = 1 << 20
_READ_BYTES = 1 << 17


def write_arrays(path: Path, tensors: Mapping[str, np.ndarray]) -> tuple[list[dict[str, Any]], int, str]:
    """Write arrays one after the other, sorted by name; their entries, the bytes of the file and its SHA-256."""
    entries: list[dict[str, Any]] = []
    digest = sha256()
    with replaced(path) as file:
        position = 0
        for name in sorted(tensors):
            array = np.ascontiguousarray(tensors[name])
            padding = bytes(-position % _ALIGNMENT)
            position += len(padding)
            entries.append({"name": name, "dtype": array.dtype.str, "shape": list(array.shape), "offset": position})
            raw = array.reshape(-1).view(np.uint8).data
            for piece in (memoryview(padding), *_pieces(raw)):
                digest.update(piece)
                write_all(file, piece)
            position += len(raw)
    return entries, position, str(digest.hexdigest())


def _pieces(raw: memoryview) -> list[memoryview]:
    return [raw[start : start + _PIECE_BYTES] for start in range(0, len(raw), _PIECE_BYTES)]


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
