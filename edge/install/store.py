"""Files by their content: what came once is never sent again, and what was cut goes on where it was cut."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from fcntl import LOCK_EX, LOCK_NB, flock
from io import FileIO
from pathlib import Path

from edge.errors import DamagedError, InputError
from edge.files.digest import file_sha256
from edge.files.durable import sync_folder, write_all
from edge.install.archive import Member, Place

_PIECE_BYTES = 1 << 16
_WAIT_SECONDS = 60.0
_SPARE_BYTES = 16 * 2**20  # left free on the disk


class Store:
    """A folder with a file for each content, named by its SHA-256; `.part` files are on their way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: str) -> Path:
        """Where a content lies, or will."""
        return self.folder / digest

    def place(self, digest: str) -> Place:
        """The same as a place to read from."""
        return Place(self.path(digest))

    def holds(self, member: Member) -> bool:
        """True if a content is here whole and under its name, which it gets once it was compared."""
        path = self.path(member.sha256)
        return path.is_file() and path.stat().st_size == member.nbytes

    def arrived(self, member: Member) -> int:
        """How many bytes of a content need not be sent again: all of them, those that came before a cut, or none.

        All of them may be here without the name, after a cut between the last byte and that: `receive` gives it then.
        """
        if self.holds(member):
            return member.nbytes
        part = self._part(member)
        return min(part.stat().st_size, member.nbytes) if part.is_file() else 0

    def receive(self, member: Member, offset: int, read: Callable[[int], bytes]) -> None:
        """Take the rest of a content, from `offset` on, from `read(at most)`, which gives no bytes at the end.

        What came stays if it ends too early. Raises InputError then or where the disk is full, DamagedError if the
        whole is not what it should be; what came is then thrown away.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self._part(member)
        with open(part, "ab", buffering=0) as file:
            _alone(file, part)
            if file.tell() < offset:
                raise InputError(f"{part}: holds less than the {offset} bytes that were counted; start again")
            file.truncate(offset)
            self._refuse_full(member.nbytes - offset)
            rest = member.nbytes - offset
            while rest:
                piece = read(min(_PIECE_BYTES, rest))[:rest]  # never more than was announced, whoever sends
                if not piece:
                    raise InputError(f"the connection ended {rest} bytes before the end; what came is kept")
                write_all(file, piece)
                rest -= len(piece)
            os.fsync(file.fileno())
        self._keep(member, part)

    def copy(self, member: Member, source: Place) -> None:
        """Take a content from a file of this machine, unless it is here already."""
        if not self.holds(member):
            pieces = source.read(member.nbytes)
            self.receive(member, 0, lambda most: next(pieces, b""))

    def _keep(self, member: Member, part: Path) -> None:
        if file_sha256(part) != member.sha256:
            part.unlink()
            raise DamagedError(f"{member.name}: arrived altered (SHA-256 differs); send it again")
        part.chmod(0o444)  # versions and data are other names of the same file
        part.replace(self.path(member.sha256))
        sync_folder(self.folder)

    def _part(self, member: Member) -> Path:
        return self.folder / f"{member.sha256}.part"

    def _refuse_full(self, nbytes: int) -> None:
        free = free_bytes(self.folder)
        if nbytes + _SPARE_BYTES > free:
            raise InputError(f"{self.folder}: {nbytes} bytes do not fit the {free} that are free; make room")


def _alone(file: FileIO, part: Path) -> None:
    """Wait until nobody else writes this part: one whose connection was cut may not have noticed yet."""
    until = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            flock(file, LOCK_EX | LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise InputError(f"{part}: another process is receiving it; wait until it ends") from None
            time.sleep(0.1)


def free_bytes(folder: Path) -> int:
    """What a user may still write where a folder lies."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
