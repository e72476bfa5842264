"""An npz file of images, or of windows and vectors, read one by one from the disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from edge.data.image import decoding_bytes
from edge.data.photo import Header
from edge.data.preprocess import Preprocess
from edge.data.source import MOST_LABELS, class_map, text
from edge.data.stored_array import StoredArray
from edge.errors import InputError
from edge.inputs import as_image
from edge.tasks.registry import CLASSIFICATION
from edge.tasks.task import Task

IMAGES, INPUTS = "images", "inputs"  # the names of the array
NUMBERS = (("u", 1), ("i", 2), ("f", 4))  # kind and bytes of what `inputs` may hold: uint8, int16, float32


class NpzEntries:
    """The entries of an npz file, read one by one from the disk: `images` uint8 `(n, h, w)` or `(n, h, w, c)`.

    For a model that takes no images, `inputs` uint8, int16 or float32 `(n, features)`, `(n, channels, length)` or
    `(n, channels, height, width)` in their place. `targets` names the array that lies beside them, None without one;
    `open_targets` is called while the file is open. A compressed file is unpacked to a temporary file in `spool`.
    """

    def __init__(
        self, path: Path, targets: str | None, spool: Path | None = None, preprocess: Preprocess | None = None
    ) -> None:
        from zipfile import BadZipFile, ZipFile

        self._path = path
        takes_images = preprocess is None or preprocess.takes_images
        self._wanted = wanted = IMAGES if takes_images else INPUTS
        try:
            with ZipFile(path) as archive:
                needed = {f"{wanted}.npy", *([f"{targets}.npy"] if targets else [])}
                missing = needed - set(archive.namelist())
                if missing:
                    raise InputError(f"{path}: {_lacking(min(missing)[:-4], wanted, archive, targets)}")
                self._array = StoredArray(archive, path, wanted, spool, _odd_images if takes_images else _odd_inputs)
                names, test = None, None
                if "class_names.npy" in archive.namelist():
                    names = [text(name) for name in _small_array(archive, "class_names.npy").tolist()]
                if "test.npy" in archive.namelist():
                    test = _small_array(archive, "test.npy")
                self.open_targets(archive, names, spool)
        except (BadZipFile, ValueError, OSError, EOFError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise InputError(f"{path}: not a readable npz file ({error}); write it with numpy.savez") from None
        count = self._array.shape[0]
        if test is not None and (test.shape != (count,) or test.dtype != np.bool_ or not test.any()):
            raise InputError(f"{path}: test {test.dtype} {test.shape} must be bool, one for each image, and mark some")
        self.test_indices = None if test is None else np.flatnonzero(test).astype(np.int32)
        self._pixels = pixels_of(self._array.buffer) if takes_images else numbers_of(self._array.buffer)
        height, width, bands = self._pixels.shape
        self.one_size: tuple[int, int] | None = (height, width)
        self.decoder_bytes = self._pixels.nbytes
        if takes_images and (preprocess is None or not preprocess.takes_pixels(self._pixels)):
            header = Header("npz", "L" if bands == 1 else "RGB", width, height)
            self.decoder_bytes += decoding_bytes(header, preprocess)
        self.skipped = 0
        self.notes: tuple[str, ...] = ()

    def open_targets(self, archive: ZipFile, names: list[str] | None, spool: Path | None) -> None:
        """Take what lies beside the entries; `names` are those that the file has."""

    def pixels(self, index: int, preprocess: Preprocess) -> np.ndarray:
        """The uint8 pixels, or the numbers, `(h, w, c)` of one entry; valid until the next call."""
        self._array.read(index)
        if not preprocess.takes_images or preprocess.takes_pixels(self._pixels):
            return self._pixels
        from PIL import Image

        flat = self._pixels[:, :, 0] if self._pixels.shape[2] == 1 else self._pixels
        return preprocess.pixels(Image.fromarray(flat))

    def keys(self) -> np.ndarray:
        """A number of each entry by its place and by the checksum that the file holds of them all, uint64 `(n,)`."""
        return np.arange(self._array.shape[0], dtype=np.uint64) + (np.uint64(self._checksum()) << np.uint64(32))

    def _checksum(self) -> int:
        return self._array.checksum

    def close(self) -> None:
        """Close the file; an unpacked copy vanishes with it."""
        self._array.close()


class NpzSource(NpzEntries):
    """Entries with `labels`, the class of each."""

    task: Task = CLASSIFICATION

    def __init__(
        self,
        path: Path,
        class_names: Sequence[str],
        spool: Path | None = None,
        preprocess: Preprocess | None = None,
    ) -> None:
        self._class_names = class_names
        super().__init__(path, "labels", spool, preprocess)

    def open_targets(self, archive: ZipFile, names: list[str] | None, spool: Path | None) -> None:
        """Read all labels, and map them to the artifact's classes."""
        labels, count = _small_array(archive, "labels.npy"), self._array.shape[0]
        if labels.shape != (count,) or labels.dtype.kind not in "iu" or not labels.size:
            raise InputError(
                f"{self._path}: labels are {labels.dtype} {labels.shape}; needed is one integer for each of the "
                f"{count} {self._wanted}"
            )
        self.labels = self._numbers(labels, names, self._class_names)[labels]

    def targets(self, samples: np.ndarray, out: np.ndarray) -> None:
        """The labels of samples, into `out`."""
        out[...] = self.labels[samples]

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
            used = np.flatnonzero(np.bincount(labels.astype(np.intp)))
            if all(str(label) in called for label in used.tolist()):
                numbers = np.zeros(int(used[-1]) + 1, dtype=np.int32)
                numbers[used] = [called[str(label)] for label in used.tolist()]
        if labels.max() >= len(numbers):
            raise InputError(f"{self._path}: label {int(labels.max())}; allowed are 0 to {len(numbers) - 1}")
        return numbers


class NpzInputs:
    """The `inputs` of an npz file alone, whatever lies beside them."""

    def __init__(self, path: Path, spool: Path | None = None) -> None:
        from zipfile import BadZipFile, ZipFile

        try:
            with ZipFile(path) as archive:
                if f"{INPUTS}.npy" not in archive.namelist():
                    raise InputError(f"{path}: {_lacking(INPUTS, INPUTS, archive, 'labels')}")
                self._array = StoredArray(archive, path, INPUTS, spool, _odd_inputs)
        except (BadZipFile, ValueError, EOFError) as error:
            raise InputError(f"{path}: not a readable npz file ({error}); write it with numpy.savez") from None
        self._numbers = numbers_of(self._array.buffer)
        self.nbytes = self._numbers.nbytes

    def __len__(self) -> int:
        return int(self._array.shape[0])

    def numbers(self, index: int) -> np.ndarray:
        """The numbers `(h, w, c)` of one entry; valid until the next call."""
        self._array.read(index)
        return self._numbers

    def close(self) -> None:
        """Close the file; an unpacked copy vanishes with it."""
        self._array.close()


def pixels_of(array: np.ndarray) -> np.ndarray:
    """An image `(h, w)` or `(h, w, c)` as `(h, w, c)`; a view."""
    return array[:, :, None] if array.ndim == 2 else array


def numbers_of(array: np.ndarray) -> np.ndarray:
    """A vector, a window or channels first as `(h, w, c)`, laid out as the network takes them; a view."""
    return array.reshape(as_image(array.shape)).transpose(1, 2, 0)


def odd_numbers(shape: tuple[int, ...], dtype: np.dtype) -> str | None:
    """Why numbers `(f,)`, `(c, l)` or `(c, h, w)` of a type are no input of a model; None where they are one."""
    if (dtype.kind, dtype.itemsize) not in NUMBERS or len(shape) not in (1, 2, 3) or 0 in shape:
        return f"{dtype} {shape}: needed is uint8, int16 or float32 (features,), (channels, length) or (c, h, w)"
    return None


def _odd_images(shape: tuple[int, ...], dtype: np.dtype, fortran: bool) -> str | None:
    if fortran and dtype == np.uint8 and len(shape) in (3, 4):
        return "images lie in Fortran order; save numpy.ascontiguousarray(images)"
    if dtype != np.uint8 or len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)):
        return f"images are {dtype} {shape}; needed is uint8 (n, h, w) or (n, h, w, 1 or 3)"
    return f"images {shape} have no pixels" if 0 in shape[1:] else None


def _odd_inputs(shape: tuple[int, ...], dtype: np.dtype, fortran: bool) -> str | None:
    if odd_numbers(shape[1:], dtype):
        return f"inputs are {dtype} {shape}; needed is uint8, int16 or float32 (n, f), (n, c, l) or (n, c, h, w)"
    return "inputs lie in Fortran order; save numpy.ascontiguousarray(inputs)" if fortran else None


def _lacking(name: str, wanted: str, archive: ZipFile, targets: str | None) -> str:
    """What to say of an array that is not there; of the other kind of data too, where the file holds that."""
    other = INPUTS if wanted == IMAGES else IMAGES
    held = ""
    if name == wanted and f"{other}.npy" in archive.namelist():
        takes = "images" if wanted == IMAGES else "windows or vectors of numbers"
        held = f", but {other!r}, and the model takes {takes}"
    beside = f" and {targets!r}" if targets else ""
    return f"has no array {name!r}{held}; an npz needs {wanted!r}{beside}"


def _small_array(archive: ZipFile, member: str) -> np.ndarray:
    with archive.open(member) as file:
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        return array
