"""Batches in an order that a seed and an epoch fix, in buffers that are made once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edge import chance
from edge.data.preprocess import Preprocess
from edge.data.source import Source
from edge.errors import InputError
from edge.spelling import named
from edge.tasks.segmentation import IGNORED
from edge.tasks.task import Shape

AUGMENTS = ("none", "flip", "crop", "crop-flip")
_HOLD_OUT, _ORDER, _AUGMENT = 1, 2, 3  # what a key is drawn for
_CROP_PADDING = 4


@dataclass(frozen=True)
class Split:
    """Sample numbers to train on and to hold out, int32, without overlap."""

    train: np.ndarray
    held_out: np.ndarray


def hold_out(labels: np.ndarray, fraction: float, seed: int) -> Split:
    """A split that takes the same fraction of each class (at least one where a class has two), by seed."""
    order = chance.permutation(len(labels), seed, _HOLD_OUT)
    held = np.zeros(len(labels), dtype=bool)
    counts = np.bincount(labels.astype(np.intp, copy=False))  # np.unique would bring 0.8 MiB of its code along
    for label in np.flatnonzero(counts):
        members = order[labels[order] == label]
        count = round(fraction * len(members))
        if fraction > 0 and len(members) > 1:
            count = min(max(count, 1), len(members) - 1)
        held[members[:count]] = True
    return Split(np.flatnonzero(~held).astype(np.int32), np.flatnonzero(held).astype(np.int32))


def in_order(samples: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Sample numbers `(n,)` in the order in which an epoch (from 0) trains on them."""
    return samples[chance.permutation(len(samples), seed, _ORDER, epoch)]


def other_size(found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """What to say of numbers `(h, w, c)` where the network takes others; as their model sees them."""
    given, wanted = ("x".join(map(str, _own(bands, height, width))) for height, width, bands in (found, expected))
    return f"an input of {given} numbers, the model takes {wanted}; give data of that size"


def _own(bands: int, height: int, width: int) -> tuple[int, ...]:
    """The shape of a model's input that such an image stands for in the network."""
    return (bands, height, width) if height > 1 else (bands, width) if width > 1 else (bands,)


def refuse_augmenting_numbers(preprocess: Preprocess, augment: str) -> None:
    """Raise InputError for augmentation of what is no image."""
    if augment != "none" and not preprocess.takes_images:
        raise InputError(
            f"{named('augment')} {augment}: is for images, and the model takes windows or vectors of numbers; "
            "leave it out"
        )


class Batches:
    """Reads batches of a source into one pair of buffers. A batch is valid until the next one is read.

    `output` is the shape of the network's answers, by which tasks without classes know the shape of their targets.
    Raises InputError for augmentation of what is no image.
    """

    def __init__(
        self,
        source: Source,
        preprocess: Preprocess,
        shape: tuple[int, int, int],
        batch_size: int,
        seed: int = 0,
        augment: str = "none",
        output: Shape = (),
    ) -> None:
        refuse_augmenting_numbers(preprocess, augment)
        self._source = source
        self._preprocess = preprocess
        self._seed = seed
        self._flip = "flip" in augment
        self._crop = "crop" in augment
        self._images = np.zeros((batch_size, *shape), dtype=np.float32)
        self._task = source.task
        self._labels: np.ndarray = np.zeros((batch_size, *source.task.target(output)), dtype=source.task.dtype)
        self._padded: dict[int, np.ndarray] = {}  # by what enters at the edge

    @staticmethod
    def buffer_bytes(shape: tuple[int, int, int], batch_size: int) -> int:
        """Bytes of the buffers, with labels of classes."""
        return batch_size * (4 * int(np.prod(shape)) + 8)

    def order(self, samples: np.ndarray, epoch: int) -> np.ndarray:
        """The samples in the order of an epoch."""
        return in_order(samples, self._seed, epoch)

    def read(self, samples: np.ndarray, epoch: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Images float32 `(n, c, h, w)` and labels int64 `(n,)`; augmented where an epoch is given.

        Another task has its targets `(n, ...)` in the place of labels; masks are moved as their images are.
        """
        self._source.targets(samples, self._labels[: len(samples)])
        for row, sample in enumerate(samples):
            pixels = self._source.pixels(int(sample), self._preprocess)
            if epoch is not None and (self._flip or self._crop):
                key = chance.mix(self._seed, _AUGMENT, epoch, int(sample))
                pixels = self._augmented(pixels, key)
                if self._task.masks_images:
                    mask = self._labels[row]
                    mask[...] = self._augmented(mask[:, :, None].copy(), key, IGNORED)[:, :, 0]
            expected = (self._images.shape[2], self._images.shape[3], self._images.shape[1])
            if pixels.shape != expected and not self._preprocess.takes_images:
                raise InputError(other_size(pixels.shape, expected))
            if pixels.shape != expected:
                raise InputError(
                    f"an image is {pixels.shape[0]}x{pixels.shape[1]} after preprocessing, the network takes "
                    f"{expected[0]}x{expected[1]}; the artifact's preprocessing neither resizes nor crops it to that"
                )
            self._preprocess.normalise(pixels, self._images[row])
        return self._images[: len(samples)], self._labels[: len(samples)]

    def in_turn(self, samples: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All samples once, unaugmented, batch after batch."""
        size = len(self._labels)
        for start in range(0, len(samples), size):
            yield self.read(samples[start : start + size])

    def _augmented(self, pixels: np.ndarray, key: int, border: int = 0) -> np.ndarray:
        """Pixels shifted by up to four (`border` enters at the edge) and mirrored, as the bits of `key` say."""
        if self._crop:
            height, width, bands = pixels.shape
            padded = self._padded.get(border)
            if padded is None:
                sides = (height + 2 * _CROP_PADDING, width + 2 * _CROP_PADDING, bands)
                padded = self._padded[border] = np.full(sides, border, np.uint8)
            top, left = key % (2 * _CROP_PADDING + 1), (key >> 16) % (2 * _CROP_PADDING + 1)
            padded[_CROP_PADDING:-_CROP_PADDING, _CROP_PADDING:-_CROP_PADDING] = pixels
            pixels = padded[top : top + height, left : left + width]
        if self._flip and key >> 63:
            pixels = pixels[:, ::-1]
        return pixels
