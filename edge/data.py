"""Labelled images on the board: a folder per class or an npz file, read one image at a time, whatever their number."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edge.errors import BudgetError, InputError

if TYPE_CHECKING:
    from zipfile import ZipFile

    from edge.preprocess import Preprocess

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})
_COPY_BYTES = 1 << 18
DECODER_CODE_BYTES = 1 << 18  # what Pillow's decoders touch of themselves after the first image, over thousands
_PROBED_IMAGES = 256


class Source(Protocol):
    """Labelled images by index. `labels` are the artifact's class numbers, int32 `(n,)`."""

    labels: np.ndarray
    test_indices: np.ndarray | None  # those that the file keeps for testing, int32; None where it does not say
    decoder_bytes: int  # the most that reading one image holds beside the result

    def pixels(self, index: int, preprocess: Preprocess) -> np.ndarray:
        """The uint8 pixels `(h, w, c)` of one image after conversion, resize and crop."""

    def close(self) -> None:
        """Close files."""


def open_source(where: str, class_names: Sequence[str], spool: Path | None = None) -> Source:
    """The images of `DIR`, `imagefolder:DIR`, `FILE.npz` or `npz:FILE`, with labels in the order of `class_names`.

    `spool` is a folder for the unpacked pixels of a compressed npz (default: beside the file). Raises InputError.
    """
    kind, _, rest = where.partition(":")
    path = Path(rest if kind in ("npz", "imagefolder") else where)
    if not path.exists():
        raise InputError(f"--data {where}: no such file or folder; give a folder with one folder per class, or an npz")
    if path.is_dir():
        return FolderSource(path, class_names)
    if path.suffix == ".npz" or kind == "npz":
        return NpzSource(path, class_names, spool)
    raise InputError(f"--data {where}: neither a folder nor an .npz file; give a folder with one folder per class")


def _class_map(found: Sequence[str], wanted: Sequence[str], where: Path) -> np.ndarray:
    """The artifact's number of each found class, int32; raises InputError for a class that it does not know."""
    unknown = sorted(set(found) - set(wanted))
    if unknown and set(found) <= {"train", "test", "val", "validation"}:
        raise InputError(f"{where}: holds {' and '.join(sorted(found))}, not classes; give {where / sorted(found)[-1]}")
    if unknown:
        raise InputError(
            f"{where}: class {unknown[0]!r} is not one of the artifact's {len(wanted)} classes "
            f"({', '.join(wanted[:10])}{', …' if len(wanted) > 10 else ''}); rename it, or export a model that has it"
        )
    return np.array([list(wanted).index(name) for name in found], dtype=np.int32)


class FolderSource:
    """Images in one folder per class, decoded by Pillow one at a time."""

    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
        if not names:
            raise InputError(f"{folder}: holds no folders; give one folder of images per class")
        numbers = _class_map(names, class_names, folder)
        self._folder = folder
        self._folders = names
        files: list[tuple[int, bytes]] = []
        for position, name in enumerate(names):
            inside = sorted(
                os.fsencode(entry.name)
                for entry in os.scandir(folder / name)
                if os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - no Path per image
            )
            if not inside:
                raise InputError(f"{folder / name}: holds no images; allowed are {', '.join(sorted(IMAGE_SUFFIXES))}")
            files += [(position, file) for file in inside]
        # One byte string and offsets instead of an object per image: a few bytes per name whatever the number.
        self._names = b"".join(file for _, file in files)
        self._ends = np.cumsum([len(file) for _, file in files], dtype=np.int64)
        self._class = np.array([position for position, _ in files], dtype=np.int32)
        self.labels = numbers[self._class]
        self.test_indices: np.ndarray | None = None
        self.decoder_bytes = 2 * self._largest() + DECODER_CODE_BYTES

    def path(self, index: int) -> Path:
        """The file of one image."""
        start = int(self._ends[index - 1]) if index else 0
        name = os.fsdecode(self._names[start : int(self._ends[index])])
        return self._folder / self._folders[self._class[index]] / name

    def _largest(self) -> int:
        """Bytes of the largest decoded image among a few hundred, from their headers alone (4 bytes per pixel).

        The first one is decoded, so that the decoder is part of what the process holds when the plan is made.
        """
        from PIL import Image

        largest = 0
        for index in range(0, len(self.labels), max(1, len(self.labels) // _PROBED_IMAGES)):
            try:
                with Image.open(self.path(index)) as image:
                    largest = max(largest, image.size[0] * image.size[1] * 4)
                    if index == 0:
                        image.convert("RGB")
            except (OSError, SyntaxError, Image.DecompressionBombError) as error:
                raise _unreadable(self.path(index), error) from None
        return largest

    def pixels(self, index: int, preprocess: Preprocess) -> np.ndarray:
        """The uint8 pixels `(h, w, c)` of one image; InputError names a file that cannot be read."""
        return read_image(self.path(index), preprocess, self.decoder_bytes)

    def close(self) -> None:
        """Nothing is held open between images."""


def read_image(path: Path, preprocess: Preprocess, decoder_bytes: int | None = None) -> np.ndarray:
    """The uint8 pixels `(h, w, c)` of an image file; raises InputError naming it where it cannot be read.

    Raises BudgetError for an image that would take more than `decoder_bytes` to decode.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            needed = image.size[0] * image.size[1] * 8
            if decoder_bytes is not None and needed > decoder_bytes:
                raise BudgetError(
                    f"{path}: {image.size[0]}x{image.size[1]} pixels take {needed} bytes to decode, planned were "
                    f"{decoder_bytes}; make the image smaller"
                )
            return preprocess.pixels(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = "the file is empty" if path.exists() and path.stat().st_size == 0 else str(error).splitlines()[0]
    return InputError(f"{path}: not a readable image ({reason}); remove or replace it")


class NpzSource:
    """`images` uint8 `(n, h, w)` or `(n, h, w, c)` and `labels` of an npz file, read image by image from the disk.

    A stored (uncompressed) file is read in place; a compressed one is first unpacked, in small pieces, to a temporary
    file. Nothing is mapped: mapped pages would count as resident.
    """

    def __init__(self, path: Path, class_names: Sequence[str], spool: Path | None = None) -> None:
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
                    names = [str(name) for name in _small_array(archive, "class_names.npy")]
                test = _small_array(archive, "test.npy") if "test.npy" in archive.namelist() else None
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
        numbers = np.arange(len(class_names), dtype=np.int32)
        if names is not None:
            numbers = _class_map(names, class_names, path)
        if labels.min() < 0 or labels.max() >= len(numbers):
            bad = int(labels.min()) if labels.min() < 0 else int(labels.max())
            raise InputError(f"{path}: label {bad}; allowed are 0 to {len(numbers) - 1}")
        if test is not None and (test.shape != labels.shape or test.dtype != np.bool_ or not test.any()):
            raise InputError(f"{path}: test {test.dtype} {test.shape} must be bool, one for each image, and mark some")
        self.labels = numbers[labels]
        self.test_indices = None if test is None else np.flatnonzero(test).astype(np.int32)
        self._buffer = np.empty(self._shape[1:], dtype=np.uint8)
        self.decoder_bytes = 3 * self._buffer.nbytes + 4 * int(np.prod(self._shape[1:3]))

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

    def close(self) -> None:
        """Close the file; an unpacked copy vanishes with it."""
        self._file.close()


def _small_array(archive: ZipFile, member: str) -> np.ndarray:
    with archive.open(member) as file:
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        return array


def _pixels_on_disk(archive: ZipFile, path: Path, spool: Path | None) -> tuple:
    """An open file, the offset of the first pixel in it, and the array's shape."""
    info = archive.getinfo("images.npy")
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(member)
        header = member.tell()
        if dtype != np.uint8 or fortran or len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)):
            raise InputError(f"{path}: images are {dtype} {shape}; needed is uint8 (n, h, w) or (n, h, w, 1 or 3)")
        if info.file_size != header + int(np.prod(shape, dtype=np.int64)):
            raise InputError(f"{path}: the array 'images' is cut short; copy the file again")
        if info.compress_type:
            import tempfile  # only here: it brings random numbers and three decompressors along

            unpacked = tempfile.TemporaryFile(dir=spool or path.parent)  # noqa: SIM115 - open as long as the source
            while piece := member.read(_COPY_BYTES):
                unpacked.write(piece)
            unpacked.flush()
            return unpacked, 0, shape
    file = open(path, "rb", buffering=0)  # noqa: SIM115 - open as long as the source
    file.seek(info.header_offset + 26)
    lengths = np.frombuffer(file.read(4), dtype="<u2")
    return file, info.header_offset + 30 + int(lengths.sum()) + header, shape
