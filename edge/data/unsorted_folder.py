"""Image files whose folders say nothing about them: samples of their own for an autoencoder, or beside masks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.data.folder import FolderSource
from edge.data.image_files import LeftOut, image_files, subfolders, unsorted_parts
from edge.data.photo import SUFFIXES, open_photo, read_header
from edge.data.preprocess import Preprocess
from edge.errors import InputError
from edge.tasks.task import Shape, Task

IMAGES, MASKS, CLASSES = "images", "masks", "classes.txt"
MASK_COPIES = 4  # of a mask, while it is read, resized and looked at


class UnsortedFolder(FolderSource):
    """All images in a folder and in the folders inside, whatever these are called.

    With `train/` and `test/` (or `valid/`, `val/`) in the folder, `test_indices` are the images of the latter.
    """

    def __init__(
        self,
        folder: Path,
        task: Task,
        preprocess: Preprocess | None = None,
        unreadable: str = "refuse",
        decode_all: bool = False,
    ) -> None:
        self.task = task
        left_out = LeftOut()
        train, test = unsorted_parts(folder)
        listed = self._listed(train, left_out)
        trained = None if test is None else len(listed)
        listed += [] if test is None else self._listed(test, left_out)
        self._open(folder, [(place, files, 0) for place, files in listed], trained, left_out)
        self._survey(preprocess, unreadable, decode_all)
        self._mark_tested()

    def _listed(self, part: Path, left_out: LeftOut) -> list[tuple[Path, list[bytes]]]:
        own = image_files(part, LeftOut())
        found = [(part / name, image_files(part / name, left_out)) for name in subfolders(part)]
        found = [(part, own), *found] if own else found
        found = [(place, files) for place, files in found if files]
        if not found:
            raise InputError(f"{part}: holds no images; allowed are {', '.join(sorted(SUFFIXES))}")
        return found

    def targets(self, samples: np.ndarray, out: np.ndarray) -> None:
        """There are none."""


class MaskFolder(UnsortedFolder):
    """`images/` with `masks/` beside it: of each image a PNG file of its name and size, a class number in each pixel.

    The artifact's classes have the numbers of their order; a file `classes.txt` with a name a line must say the same.
    """

    def __init__(
        self,
        folder: Path,
        class_names: Sequence[str],
        task: Task,
        output: Shape,
        preprocess: Preprocess,
        unreadable: str = "refuse",
        decode_all: bool = False,
    ) -> None:
        self._preprocess = preprocess
        names = folder / CLASSES
        if names.is_file() and (found := class_lines(names)) != list(class_names):
            raise InputError(
                f"{names}: {', '.join(found[:5])}; the artifact has {', '.join(class_names[:5])}: give masks of those"
            )
        super().__init__(folder, task, preprocess, unreadable, decode_all)
        largest = 0
        for index in range(len(self.labels)):
            mask = self._mask(index)
            largest = max(largest, mask.nbytes)
            if problem := task.wrong(mask[None], output):
                raise InputError(f"{self._mask_path(index)}: {problem}")
        self.decoder_bytes += MASK_COPIES * largest

    def _listed(self, part: Path, left_out: LeftOut) -> list[tuple[Path, list[bytes]]]:
        for name in (IMAGES, MASKS):
            if not (part / name).is_dir():
                raise InputError(f"{part}: has no folder {name!r}; give images/ and masks/ with a PNG of each name")
        files = image_files(part / IMAGES, left_out)
        if not files:
            raise InputError(f"{part / IMAGES}: holds no images; allowed are {', '.join(sorted(SUFFIXES))}")
        return [(part / IMAGES, files)]

    def _mask_path(self, index: int) -> Path:
        image = self.path(index)
        return image.parent.parent / MASKS / f"{image.stem}.png"

    def _mask(self, index: int) -> np.ndarray:
        """The mask of one image as its file holds it."""
        path = self._mask_path(index)
        if not path.is_file():
            raise InputError(f"{path}: is missing; every image needs a mask of its name")
        mask = read_mask(path)
        size = read_header(self.path(index)).upright
        if mask.shape != size:
            raise InputError(f"{path}: is {mask.shape[0]}x{mask.shape[1]}, its image {size[0]}x{size[1]}")
        return mask

    def targets(self, samples: np.ndarray, out: np.ndarray) -> None:
        """The masks of samples, prepared as their images are, into `out` `(k, height, width)`."""
        for row, sample in enumerate(samples):
            out[row] = self._preprocess.mask(self._mask(int(sample)))

    def _beside(self, index: int) -> str:
        return f"/{os.stat(self._mask_path(index)).st_size}"  # noqa: PTH116 - see `_file`


def read_mask(path: Path) -> np.ndarray:
    """A PNG file of class numbers, uint8 `(h, w)`: grey levels, or places in a palette. Raises InputError."""
    try:
        with open_photo(path) as image:
            if image.mode not in ("L", "P"):
                raise InputError(f"{path}: has mode {image.mode}; a mask is a grey or palette PNG of 8 bits")
            return np.asarray(image, np.uint8)
    except (MemoryError, InputError):
        raise
    except Exception as error:  # Pillow's readers raise what they like for a damaged file
        raise InputError(f"{path}: not a readable PNG ({error}); replace it") from None


def class_lines(path: Path) -> list[str]:
    """The names in a file, one a line."""
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
