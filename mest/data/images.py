"""Labelled images: in memory where they fit, decoded from their files where they do not. And arrays of numbers."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mest.data.photo import open_photo, why_unreadable
from mest.data.preprocess import Preprocess
from mest.data.survey import unreadable_image
from mest.errors import InputError

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[Any]  # int64 (n,) of classes, else as a task has its targets, (n, ...)

WHOLE_BYTES, PIECE_BYTES = 1 << 16, 1 << 14  # what of a file its checksum covers


@dataclass(frozen=True)
class Images(ABC):
    """Images, or arrays of numbers, of one size with their labels; each is named by its index."""

    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def masked(self) -> bool:
        """True if labels are masks of the images, `(n, height, width)`."""
        return self.labels.ndim == 3

    @property
    def strata(self) -> npt.NDArray[np.int64]:
        """The classes that parts of the images are chosen from alike, `(n,)`: one where labels are no classes."""
        return self.labels if self.labels.ndim == 1 else np.zeros(len(self), np.int64)

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width) of every image; of arrays their own."""

    @abstractmethod
    def pixels(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return uint8 `(k, h, w, c)` of the images with these indices; of arrays `(k, *shape)`."""

    def channels_first(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return what `pixels` gave as `(k, *shape)`, in memory of its own."""
        # A copy even of one channel: its strides would pass for channels_last, and `view` fails on what follows.
        return np.array(pixels.transpose(0, 3, 1, 2), order="C")

    @abstractmethod
    def checksum(self) -> str:
        """Return a SHA-256 by which sets of other images, labels or order are told apart."""


@dataclass(frozen=True)
class ImagesInMemory(Images):
    """Images held as one array, uint8 `(n, h, w, c)`; `source` is their checksum where it is not their pixels'."""

    array: Pixels
    source: str | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image."""
        _, height, width, channels = self.array.shape
        return channels, height, width

    def pixels(self, indices: npt.NDArray[np.int64]) -> Pixels:
        """Return uint8 `(k, h, w, c)` of the images with these indices."""
        return self.array[indices]

    def checksum(self) -> str:
        """Return the SHA-256 over shape, pixels and labels, or of the files that they came from."""
        if self.source is not None:
            return self.source
        digest = hashlib.sha256(str(self.array.shape).encode())
        digest.update(np.ascontiguousarray(self.array).data)
        digest.update(labels_bytes(self.labels))
        return digest.hexdigest()


@dataclass(frozen=True)
class NumbersInMemory(Images):
    """Vectors `(n, features)`, windows `(n, channels, length)` or `(n, channels, height, width)` of any numbers."""

    array: npt.NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of every one."""
        return self.array.shape[1:]

    def pixels(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return `(k, *shape)` of those with these indices."""
        return self.array[indices]

    def channels_first(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return them as they are."""
        return pixels

    def checksum(self) -> str:
        """Return the SHA-256 over type, shape, numbers and labels."""
        little = self.array.astype(self.array.dtype.newbyteorder("<"), copy=False)
        digest = hashlib.sha256(f"{little.dtype.str}{little.shape}".encode())
        digest.update(np.ascontiguousarray(little).data)
        digest.update(labels_bytes(self.labels))
        return digest.hexdigest()


@dataclass(frozen=True)
class ImagesOnDisk(Images):
    """Images decoded each time they are asked for; a file's identity is its path below `root` and its bytes."""

    root: Path
    files: tuple[Path, ...]
    preprocess: Preprocess
    size: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image."""
        return (len(self.preprocess.mean), *self.size)

    def pixels(self, indices: npt.NDArray[np.int64]) -> Pixels:
        """Return uint8 `(k, h, w, c)`; raises InputError that names the file if one does not decode."""
        return np.stack([decode(self.files[i], self.preprocess, self.size) for i in indices])

    def checksum(self) -> str:
        """Return the SHA-256 over relative names, sizes and labels, and all bytes of each file.

        Of a file above `WHOLE_BYTES` three pieces are read, at its start, middle and end: large sets would take hours.
        """
        digest = hashlib.sha256()
        for path, label in zip(self.files, self.labels, strict=True):
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                digest.update(os.fsencode(path.relative_to(self.root)) + f"\0{size}\0".encode())
                digest.update(f"{label}\n".encode() if self.labels.ndim == 1 else label.tobytes())
                if size <= WHOLE_BYTES:
                    digest.update(file.read())
                    continue
                for start in (0, (size - PIECE_BYTES) // 2, size - PIECE_BYTES):
                    file.seek(start)
                    digest.update(file.read(PIECE_BYTES))
        return digest.hexdigest()

    def in_memory(self, threads: int) -> ImagesInMemory:
        """Return the same images decoded once."""
        with ThreadPoolExecutor(max(1, threads)) as pool:
            decoded = pool.map(lambda file: decode(file, self.preprocess, self.size), self.files)
            channels, height, width = self.shape
            array = np.empty((len(self.files), height, width, channels), np.uint8)
            for row, image in enumerate(decoded):
                array[row] = image
        return ImagesInMemory(self.labels, array, self.checksum())


def labels_bytes(labels: Labels) -> bytes:
    """Labels as a checksum takes them in: classes as 64-bit numbers, other targets with their type and shape."""
    if labels.ndim == 1:
        return np.ascontiguousarray(labels, dtype="<i8").tobytes()
    little = labels.astype(labels.dtype.newbyteorder("<"), copy=False)
    return f"{little.dtype.str}{little.shape}".encode() + np.ascontiguousarray(little).tobytes()


def decode(file: Path, preprocess: Preprocess, size: tuple[int, int]) -> Pixels:
    """Return uint8 `(h, w, c)` of one image file; raises InputError that names it."""
    try:
        with open_photo(file) as image:
            pixels = preprocess.pixels(image)
    except InputError as refused:
        raise InputError(f"{file}: {refused}; choose a smaller --image-size") from refused
    except (FileNotFoundError, MemoryError):
        raise
    except Exception as failed:  # Pillow's readers raise what they like for a damaged file
        raise unreadable_image(file, why_unreadable(failed)) from failed
    if pixels.shape[:2] != size:
        raise InputError(f"{file}: {pixels.shape[0]}x{pixels.shape[1]} after preprocessing, not {size[0]}x{size[1]}")
    return pixels
