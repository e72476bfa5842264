"""Batches of (image, label, index), the same for any number of workers."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mest.data.augment import Augment
from mest.data.images import Images
from mest.tasks.segmentation import IGNORED

Batch = tuple[Tensor, Tensor, Tensor]
Indices = npt.NDArray[np.int64]


class Samples(Dataset[Batch]):
    """Images as a torch data set: uint8 `(c, h, w)`, label, index; augmented where `draws` are given."""

    def __init__(self, images: Images, augment: Augment, draws: npt.NDArray[np.int16] | None = None) -> None:
        self.images, self.augment, self.draws = images, augment, draws

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Batch:
        """Return one sample."""
        image, label, position = self.__getitems__([index])
        return image[0], label[0], position[0]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a batch: images `(k, c, h, w)` uint8, or numbers `(k, ...)`, labels and indices `(k,)` int64.

        Labels of another task are `(k, ...)`; a mask is moved as its image is.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        pixels = self.images.pixels(chosen)
        labels = self.images.labels[chosen]
        if self.draws is not None and self.augment != Augment():
            pixels = self.augment.apply(pixels, self.draws[chosen])
            if self.images.masked:
                labels = self.augment.apply(labels[..., None], self.draws[chosen], IGNORED)[..., 0]
        image = torch.from_numpy(self.images.channels_first(pixels))
        return image, torch.from_numpy(labels), torch.from_numpy(chosen)


@dataclass(frozen=True)
class Share:
    """The part of every batch that one process of `world` takes."""

    rank: int = 0
    world: int = 1


def epoch_batches(active: Indices, batch_size: int, seed: int, epoch: int, share: Share) -> list[tuple[Indices, int]]:
    """Return this process's part of each batch of the epoch, with the size of the whole batch.

    The order depends on seed and epoch alone. Every process takes part in every batch with at least two samples where
    it can: a rest smaller than two per process joins the batch before it, for batch norm cannot train on one sample.
    """
    order = active[np.random.default_rng([seed, epoch, 0x0D3]).permutation(len(active))]
    starts = list(range(0, len(order), batch_size))
    if len(starts) > 1 and len(order) - starts[-1] < 2 * share.world:
        starts.pop()
    whole = [order[start:end] for start, end in zip(starts, [*starts[1:], len(order)], strict=True)]
    return [(batch[share.rank :: share.world], len(batch)) for batch in whole]


def load_batches(samples: Samples, batches: Sequence[Indices], workers: int, pin: bool) -> Iterator[Batch]:
    """Yield the batches in order; worker processes decode and augment ahead, and change nothing else."""
    loader = DataLoader(
        samples,
        batch_sampler=[batch.tolist() for batch in batches],  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=_as_is,
        pin_memory=pin,
        worker_init_fn=_leave_signals if workers else None,
        generator=torch.Generator(),  # a generator of its own: the loader draws from it, never from the global one
    )
    yield from loader


def ordered_batches(indices: Indices, batch_size: int) -> list[Indices]:
    """Return the indices cut into batches, in order."""
    return [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]


def _as_is(batch: Any) -> Any:
    return batch


def _leave_signals(_: int) -> None:
    """A stop from the terminal reaches the whole process group; only the trainer answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
