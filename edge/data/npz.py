"""An npz file, read image by image from the disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO
from zipfile import ZipFile

import numpy as np

from edge.data.image import decoding_bytes
from edge.data.photo import Header
from edge.data.preprocess import Preprocess
from edge.data.source import MOST_LABELS, class_map, text
from edge.errors import InputError

_COPY_BYTES = 1 << 18


class NpzSource:
    """`images` uint8 `(n, h, w)` or `(n, h, w, c)` and `labels` of an npz file, read image by image from the disk.

    A stored (uncompressed) file is read in place; a compressed one is first unpacked, in small pieces, to a temporary
    file. Nothing is mapped: mapped pages would count as resident.
    """

    def __init__(
        self,
        path: Path,
        class_names: Sequence[str],
        spool: Path | None = None,
        preprocess: Preprocess | None = None,
    ) -> None:
        from zipfile import BadZipFile, ZipFile

        self._path = path
        try:
            with ZipFile(path) as archive:
                missing = {"images.npy", "labels.npy"} - set(archive.namelist())
                if missing:
                    raise InputError(f"{path}: has no array {min(missing)[:-4]!r}; an npz needs 'images' and 'labels'")
                labels = _small_array(archive, "labels.npy")
                names = None
                if "class_names.npy" in archive.namelist():
                    names = [text(name) for name in _small_array(archive, "class_names.npy").tolist()]
                test = _small_array(archive, "test.npy") if "test.npy" in archive.namelist() else None
                self._checksum = archive.getinfo("images.npy").CRC
                self._file, self._offset, shape = _pixels_on_disk(archive, path, spool)
        except (BadZipFile, ValueError, OSError, EOFError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise InputError(f"{path}: not a readable npz file ({error}); write it with numpy.savez") from None
        self._shape = (*shape, 1) if len(shape) == 3 else shape
        if labels.shape != self._shape[:1] or labels.dtype.kind not in "iu" or not labels.size:
            raise InputError(
                f"{path}: labels are {labels.dtype} {labels.shape}; needed is one integer for each of the "
                f"{self._shape[0]} images"
            )
        numbers = self._numbers(labels, names, class_names)
        if test is not None and (test.shape != labels.shape or test.dtype != np.bool_ or not test.any()):
            raise InputError(f"{path}: test {test.dtype} {test.shape} must be bool, one for each image, and mark some")
        self.labels = numbers[labels]
        self.test_indices = None if test is None else np.flatnonzero(test).astype(np.int32)
        self._buffer = np.empty(self._shape[1:], dtype=np.uint8)
        height, width = self._shape[1:3]
        self.one_size: tuple[int, int] | None = (height, width)
        header = Header("npz", "L" if self._shape[3] == 1 else "RGB", width, height)
        self.decoder_bytes = self._buffer.nbytes
        if preprocess is None or not preprocess.takes_pixels(self._buffer):
            self.decoder_bytes += decoding_bytes(header, preprocess)
        self.skipped = 0
        self.notes: tuple[str, ...] = ()

    def _numbers(self, labels: np.ndarray, names: list[str] | None, class_names: Sequence[str]) -> np.ndarray:
        """The artifact's class number of every label of the file, int32.

        Without names in the file, a label is the name of a class where classes are called by such numbers (as training
        on a file without names calls them), else the number of one.
        """
        if labels.min() < 0:
            raise InputError(f"{self._path}: label {int(labels.min())}; allowed are 0 to {len(class_names) - 1}")
        if names is not None:
            numbers = class_map(names, class_names, self._path)
        else:
            numbers = np.arange(len(class_names), dtype=np.int32)
        if names is None and labels.max() < MOST_LABELS:
            called = {name: number for number, name in enumerate(class_names)}
            used = np.flatnonzero(np.bincount(labels.astype(np.int64)))
            if all(str(label) in called for label in used.tolist()):
                numbers = np.zeros(int(used[-1]) + 1, dtype=np.int32)
                numbers[used] = [called[str(label)] for label in used.tolist()]
        if labels.max() >= len(numbers):
            raise InputError(f"{self._path}: label {int(labels.max())}; allowed are 0 to {len(numbers) - 1}")
        return numbers

    def pixels(self, index: int, preprocess: Preprocess) -> np.ndarray:
        """The uint8 pixels `(h, w, c)` of one image; valid until the next call."""
        where = self._offset + index * self._buffer.nbytes
        if os.preadv(self._file.fileno(), [self._buffer.data.cast("B")], where) != self._buffer.nbytes:
            raise InputError(f"{self._path}: ends before image {index}; copy the file again")
        if preprocess.takes_pixels(self._buffer):
            return self._buffer
        from PIL import Image

        flat = self._buffer[:, :, 0] if self._buffer.shape[2] == 1 else self._buffer
        return preprocess.pixels(Image.fromarray(flat))

    def keys(self) -> np.ndarray:
        """A number of each image by its place and by the checksum that the file holds of all pixels, uint64 `(n,)`."""
        return np.arange(len(self.labels), dtype=np.uint64) + (np.uint64(self._checksum) << np.uint64(32))

    def close(self) -> None:
        """Close the file; an unpacked copy vanishes with it."""
        self._file.close()


def _small_array(archive: ZipFile, member: str) -> np.ndarray:
    with archive.open(member) as file:
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        return array


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


def _pixels_on_disk(archive: ZipFile, path: Path, spool: Path | None) -> tuple:
    """An open file, the offset of the first pixel in it, and the array's shape."""
    info = archive.getinfo("images.npy")
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(member)
        header = member.tell()
        if fortran and dtype == np.uint8 and len(shape) in (3, 4):
            raise InputError(f"{path}: images lie in Fortran order; save numpy.ascontiguousarray(images)")
        if dtype != np.uint8 or len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)):
            raise InputError(f"{path}: images are {dtype} {shape}; needed is uint8 (n, h, w) or (n, h, w, 1 or 3)")
        if 0 in shape[1:]:
            raise InputError(f"{path}: images {shape} have no pixels")
        if info.file_size != header + int(np.prod(shape, dtype=np.int64)):
            raise InputError(f"{path}: the array 'images' is cut short; copy the file again")
        if info.compress_type:
            return _unpacked(member, path, [spool] if spool else [path.parent]), 0, shape
    file = open(path, "rb", buffering=0)  # noqa: SIM115 - open as long as the source
    file.seek(info.header_offset + 26)
    lengths = np.frombuffer(file.read(4), dtype="<u2")
    return file, info.header_offset + 30 + int(lengths.sum()) + header, shape
