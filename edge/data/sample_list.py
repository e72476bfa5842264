"""Which samples a run has, and which of them it holds out: what a state keeps to know them again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.data.batches import Split
from edge.errors import DamagedError
from edge.files.digest import sha256
from edge.files.durable import write_durably

_TRAINED, _HELD_OUT, _UNUSED = 0, 1, 2
_BYTES = 9  # of a sample: its key and its role


@dataclass(frozen=True)
class SampleList:
    """The samples in their order: `keys` uint64 `(n,)` as `Source.keys` gives them, `roles` uint8 `(n,)`."""

    keys: np.ndarray
    roles: np.ndarray

    @classmethod
    def of(cls, keys: np.ndarray, split: Split) -> SampleList:
        """The samples of a split; those in neither part are unused."""
        roles = np.full(len(keys), _UNUSED, np.uint8)
        roles[split.train], roles[split.held_out] = _TRAINED, _HELD_OUT
        return cls(keys, roles)

    @property
    def split(self) -> Split:
        """The samples by their role."""
        parts = (np.flatnonzero(self.roles == role).astype(np.int32) for role in (_TRAINED, _HELD_OUT))
        return Split(*parts)

    def places(self, keys: np.ndarray) -> np.ndarray:
        """Where in this list each of the keys stands, int64 `(len(keys),)`; -1 for one that it does not have."""
        order = np.argsort(self.keys, kind="stable")
        near = np.minimum(np.searchsorted(self.keys, keys, sorter=order), len(order) - 1)
        found: np.ndarray = np.where(self.keys[order[near]] == keys, order[near], -1)
        return found

    @property
    def name(self) -> str:
        """The name of its file, which follows from what it holds."""
        return f"samples-{self._digest()}.bin"

    def write(self, folder: Path) -> None:
        """Put it into the folder durably, unless it is there."""
        if not (folder / self.name).exists():
            write_durably(folder / self.name, self.keys.astype("<u8").tobytes() + self.roles.tobytes())

    def remove_others(self, folder: Path) -> None:
        """Remove the lists of the run's samples as they were before."""
        for path in folder.glob("samples-*"):
            if path.name != self.name:
                path.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: Path) -> SampleList:
        """The list in a file; raises DamagedError if it is missing or was altered."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise DamagedError(f"{path}: is missing; copy the whole state directory") from None
        count = len(content) // _BYTES
        found = cls(np.frombuffer(content, "<u8", count), np.frombuffer(content[8 * count :], np.uint8))
        if not count or len(content) % _BYTES or found.name != path.name:
            raise DamagedError(f"{path}: does not match the SHA-256 in its name; it was altered")
        return found

    def _digest(self) -> str:
        digest = sha256()
        digest.update(self.keys.astype("<u8").tobytes())
        digest.update(self.roles.tobytes())
        return str(digest.hexdigest())[:32]
