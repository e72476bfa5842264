"""One array of an npz file, read entry by entry from the disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO
from zipfile import ZipFile

import numpy as np

from edge.errors import InputError

_COPY_BYTES = 1 << 18


class StoredArray:
    """An array `(n, ...)` of an open npz file, whose entries are read into one `buffer`.

    A stored (uncompressed) file is read in place; a compressed one is first unpacked, in small pieces, to a temporary
    file in `spool`. Nothing is mapped: mapped pages would count as resident. `check` says what is wrong with a shape
    and type, if anything. Raises InputError.
    """

    def __init__(
        self,
        archive: ZipFile,
        path: Path,
        name: str,
        spool: Path | None,
        check: Callable[[tuple[int, ...], np.dtype, bool], str | None],
    ) -> None:
        self._path = path
        self._name = name
        info = archive.getinfo(f"{name}.npy")
        self.checksum = info.CRC
        with archive.open(info) as member:
            version = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            self.shape, fortran, dtype = read(member)
            header = member.tell()
            if problem := check(self.shape, dtype, fortran):
                raise InputError(f"{path}: {problem}")
            if info.file_size != header + int(np.prod(self.shape, dtype=np.int64)) * dtype.itemsize:
                raise InputError(f"{path}: the array {name!r} is cut short; copy the file again")
            if info.compress_type:
                self._file, self._offset = _unpacked(member, path, [spool] if spool else [path.parent]), 0
            else:
                self._file, self._offset = _in_place(path, info.header_offset, header)
        self.buffer = np.empty(self.shape[1:], dtype=dtype)

    def read(self, index: int) -> None:
        """Fill the buffer with one entry."""
        where = self._offset + index * self.buffer.nbytes
        if os.preadv(self._file.fileno(), [self.buffer.data.cast("B")], where) != self.buffer.nbytes:
            raise InputError(f"{self._path}: ends before entry {index} of {self._name!r}; copy the file again")

    def close(self) -> None:
        """Close the file; an unpacked copy vanishes with it."""
        self._file.close()


def _in_place(path: Path, entry: int, header: int) -> tuple[IO[bytes], int]:
    """The npz file, and where in it the numbers of an entry begin."""
    file = open(path, "rb", buffering=0)  # noqa: SIM115 - open as long as the source
    file.seek(entry + 26)
    lengths = np.frombuffer(file.read(4), dtype="<u2")
    return file, entry + 30 + int(lengths.sum()) + header


def _unpacked(member: IO[bytes], path: Path, folders: Sequence[Path]) -> IO[bytes]:
    """A nameless file with the rest of an archive's member, in the first of the folders or where temporary files go.

    Raises InputError where none of them takes it.
    """
    import tempfile  # only here: it brings random numbers and three decompressors along

    refusals = []
    start = member.tell()
    for folder in dict.fromkeys([*map(str, folders), tempfile.gettempdir()]):
        try:
            file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - open as long as the source
        except OSError as error:
            refusals.append(f"{folder}: {os.strerror(error.errno or 0)}")
            continue
        try:
            member.seek(start)
            while piece := member.read(_COPY_BYTES):
                file.write(piece)
            file.flush()
            return file
        except OSError as error:
            file.close()
            if error.errno is None:  # the archive is damaged
                raise
            refusals.append(f"{folder}: {os.strerror(error.errno)}")
    raise InputError(
        f"{path}: is compressed, and there is no room to unpack it ({'; '.join(refusals)}); set TMPDIR to a folder "
        "with room, or write the file with numpy.savez, which is read where it lies"
    )
