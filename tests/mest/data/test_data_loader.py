"""Batches: the same for any number of workers and processes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mest.data.augment import Augment
from mest.data.images import ImagesInMemory
from mest.data.loader import Samples, Share, epoch_batches, load_batches
from mest.errors import InputError

SEED = 7


def images(count: int = 30) -> ImagesInMemory:
    generator = np.random.default_rng(0)
    return ImagesInMemory(np.arange(count) % 3, generator.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8))


def loaded(workers: int, epoch: int = 2) -> list[list[torch.Tensor]]:
    source, augment = images(), Augment(2, True)
    plan = [part for part, _ in epoch_batches(np.arange(30), 8, SEED, epoch, Share())]
    samples = Samples(source, augment, augment.draws(30, SEED, epoch))
    return [list(batch) for batch in load_batches(samples, plan, workers, pin=False)]


def test_workers_change_nothing() -> None:
    """Pixels, labels and order with two worker processes equal those with none, bit for bit."""
    for ours, theirs in zip(loaded(0), loaded(2), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_batches_of_one_channel_are_contiguous_for_torch() -> None:
    """Not to be taken for channels_last: `view` of what a convolution makes of them works."""
    images, _, _ = loaded(0)[0]
    assert images.stride() == (64, 64, 8, 1)
    found = torch.nn.Conv2d(1, 8, 3)(images.float())
    assert found.view(len(images), -1).shape == (len(images), 8 * 36)


def test_loading_leaves_the_global_generator_alone() -> None:
    """Dropout after the loader draws what it would have drawn without it."""
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    loaded(0)
    assert torch.equal(torch.rand(1), expected)


def test_every_sample_comes_once_and_epochs_differ() -> None:
    """An epoch is a permutation; the next one is another."""
    indices = [torch.cat([batch[2] for batch in loaded(0, epoch)]) for epoch in (0, 1)]
    assert all(sorted(order.tolist()) == list(range(30)) for order in indices)
    assert not torch.equal(*indices)


def test_processes_share_every_batch() -> None:
    """The parts of three processes make up the batches that one process has."""
    active = np.arange(100, 133)
    alone = epoch_batches(active, 9, SEED, 4, Share())
    parts = [epoch_batches(active, 9, SEED, 4, Share(rank, 3)) for rank in range(3)]
    for (whole, size), *shares in zip(alone, *parts, strict=True):
        assert sorted(np.concatenate([share for share, _ in shares])) == sorted(whole)
        assert {share_size for _, share_size in shares} == {size}


def test_a_single_leftover_joins_the_batch_before_it() -> None:
    """Batch norm cannot train on one sample: 17 in batches of 8 are 8 and 9."""
    assert [size for _, size in epoch_batches(np.arange(17), 8, SEED, 0, Share())] == [8, 9]
    assert [size for _, size in epoch_batches(np.arange(18), 8, SEED, 0, Share())] == [8, 8, 2]


def test_shift_and_mirror_by_eye() -> None:
    """Shift (0, 0) of padding 1 moves the image down and right; a mirror turns columns round."""
    pixels = np.array([[1, 2], [3, 4]], np.uint8).reshape(1, 2, 2, 1)
    moved = Augment(1).apply(pixels, np.array([[0, 0, 0]], np.int16))
    assert moved[0, :, :, 0].tolist() == [[0, 0], [0, 1]]
    assert Augment(0, True).apply(pixels, np.array([[0, 0, 1]], np.int16))[0, :, :, 0].tolist() == [[2, 1], [4, 3]]


def test_draws_depend_on_seed_and_epoch_alone_and_stay_in_range() -> None:
    """The table covers every shift from -padding to +padding."""
    augment = Augment(2, True)
    draws = augment.draws(500, SEED, 3)
    assert np.array_equal(draws, augment.draws(500, SEED, 3))
    assert not np.array_equal(draws, augment.draws(500, SEED, 4))
    assert [sorted(set(column)) for column in draws.T.tolist()] == [list(range(5)), list(range(5)), [0, 1]]


def test_augment_by_name() -> None:
    """Padding is an eighth of the shorter side; an unknown name lists the others."""
    assert Augment.parse("auto", (3, 32, 48), flip=True) == Augment(4, True)
    assert Augment.parse("none", (3, 32, 32), flip=True) == Augment()
    with pytest.raises(InputError, match="allowed are auto, none, crop, flip, crop-flip"):
        Augment.parse("rotate", (3, 32, 32), flip=True)


def test_one_sample_of_the_data_set() -> None:
    """Plain indexing gives image, label and index, as torch's data sets do."""
    image, label, index = Samples(images(), Augment())[4]
    assert (image.shape, image.dtype, int(label), int(index)) == ((1, 8, 8), torch.uint8, 1, 4)
