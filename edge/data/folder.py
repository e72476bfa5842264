"""A folder of image files for each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.data.image import DECODER_CODE_BYTES, decoding_bytes, read_image, unreadable_image
from edge.data.image_files import (
    LeftOut,
    class_name,
    image_files,
    loose_files,
    parts_of,
    subfolders,
)
from edge.data.photo import SUFFIXES, header_of, open_photo, upright
from edge.data.preprocess import Preprocess
from edge.data.source import class_map, or_skip
from edge.errors import InputError
from edge.files.digest import sha256
from edge.tasks.registry import CLASSIFICATION
from edge.tasks.task import Task


class FolderSource:
    """Images in one folder per class, decoded by Pillow one at a time.

    With `train/` and `test/` (or `valid/`, `val/`) in the folder, `test_indices` are the images of the latter.
    """

    task: Task = CLASSIFICATION

    def __init__(
        self,
        folder: Path,
        class_names: Sequence[str],
        preprocess: Preprocess | None = None,
        unreadable: str = "refuse",
        decode_all: bool = False,
    ) -> None:
        left_out = LeftOut()
        train, test = parts_of(folder, left_out)
        listed: list[tuple[Path, list[bytes], int]] = []
        trained = len(subfolders(train))
        for part in (train, test):
            if part is None:
                continue
            found = subfolders(part)
            if not found:
                raise InputError(f"{part}: holds no folders; give one folder of images per class")
            numbers = class_map([class_name(name) for name in found], class_names, part)
            loose_files(part, left_out)
            for name, number in zip(found, numbers, strict=True):
                inside = image_files(part / name, left_out)
                if not inside:
                    raise InputError(f"{part / name}: holds no images; allowed are {', '.join(sorted(SUFFIXES))}")
                listed.append((part / name, inside, int(number)))
        self._open(folder, listed, None if test is None else trained, left_out)
        self._survey(preprocess, unreadable, decode_all)
        self._mark_tested()

    def _open(
        self, root: Path, listed: Sequence[tuple[Path, list[bytes], int]], trained: int | None, left_out: LeftOut
    ) -> None:
        """Hold the names of files by their folders, each with its label; those behind the `trained` ones are tested."""
        self._root, self._trained = root, trained
        self._folders = [folder for folder, _, _ in listed]
        # Of each folder all names in one, and where they end: a few bytes per image.
        lengths = [np.array([len(file) for file in inside], dtype=np.int64) for _, inside, _ in listed]
        classes = [np.full(len(inside), number, dtype=np.int32) for number, (_, inside, _) in enumerate(listed)]
        labels = [np.full(len(inside), label, dtype=np.int32) for _, inside, label in listed]
        self._names = b"".join(b"".join(inside) for _, inside, _ in listed)
        ends = np.cumsum(np.concatenate(lengths))
        self._ends = ends.astype(np.uint32)
        self._starts = (ends - np.concatenate(lengths)).astype(np.uint32)
        self._class = np.concatenate(classes)
        self.labels = np.concatenate(labels)
        self.skipped = 0
        self.notes = left_out.note(root)

    def _mark_tested(self) -> None:
        self.test_indices: np.ndarray | None = None
        if self._trained is not None:
            self.test_indices = np.flatnonzero(self._class >= self._trained).astype(np.int32)

    def path(self, index: int) -> Path:
        """The file of one image."""
        return Path(self._file(index))

    def _file(self, index: int) -> str:
        """The same as text: every part of a Path is entered into the interpreter's table of strings, which grows."""
        name = os.fsdecode(self._names[self._starts[index] : self._ends[index]])
        return os.path.join(self._folders[self._class[index]], name)  # noqa: PTH118

    def _survey(self, preprocess: Preprocess | None, unreadable: str, decode_all: bool) -> None:
        """Look at every file: what decoding takes, whether all have one size, and which cannot be read.

        The first one is decoded, so that the decoder is part of what the process holds when the plan is made.
        """
        decoder, size, differ = 0, None, False
        readable = np.ones(len(self.labels), dtype=bool)
        refused: tuple[Path, Exception] | None = None
        for index in range(len(self.labels)):
            try:
                with open_photo(self._file(index)) as image:
                    header = header_of(image)
                    decoder = max(decoder, decoding_bytes(header, preprocess))
                    differ |= size not in (None, header.upright)
                    size = header.upright
                    if index == 0 or decode_all or unreadable == "skip":
                        upright(image, "RGB") if preprocess is None else preprocess.pixels(image)
            except MemoryError:
                raise
            except InputError as error:
                raise InputError(f"{self.path(index)}: {error}") from None
            except Exception as error:  # Pillow's readers raise what they like for a damaged file
                readable[index] = False
                refused = refused or (self.path(index), error)
        self.one_size = None if differ else size
        self.decoder_bytes = decoder + DECODER_CODE_BYTES
        if refused is None:
            return
        self.skipped = int((~readable).sum())
        if unreadable == "refuse":
            raise unreadable_image(*refused, self.skipped - 1, or_skip())
        for number in np.flatnonzero(np.bincount(self._class[readable], minlength=len(self._folders)) == 0):
            raise InputError(f"{self._folders[number]}: none of its images can be read; replace them")
        self._starts, self._ends = self._starts[readable], self._ends[readable]
        self._class, self.labels = self._class[readable], self.labels[readable]
        self.notes += (f"{self.skipped} images cannot be read and are left out, the first is {refused[0]}",)

    def pixels(self, index: int, preprocess: Preprocess) -> np.ndarray:
        """The uint8 pixels `(h, w, c)` of one image; InputError names a file that cannot be read."""
        return read_image(self._file(index), preprocess, self.decoder_bytes, or_skip())

    def targets(self, samples: np.ndarray, out: np.ndarray) -> None:
        """The labels of samples, into `out`."""
        out[...] = self.labels[samples]

    def keys(self) -> np.ndarray:
        """A number of each image by the names of its folder and file and by the file's size, uint64 `(n,)`."""
        found = np.empty(len(self.labels), np.uint64)
        folders = [folder.relative_to(self._root) for folder in self._folders]
        for index, folder in enumerate(self._class):
            file = self._file(index)
            name, size = os.path.basename(file), os.stat(file).st_size  # noqa: PTH116, PTH119 - see `_file`
            digest = sha256()
            digest.update(os.fsencode(f"{folders[folder]}/{name}/{size}{self._beside(index)}"))
            found[index] = int.from_bytes(digest.digest()[:8], "little")
        return found

    def _beside(self, index: int) -> str:
        """What else tells an image from what it was before."""
        return ""

    def close(self) -> None:
        """Nothing is held open between images."""
