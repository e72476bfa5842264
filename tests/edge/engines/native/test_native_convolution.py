"""Convolution and linear layers of every format and shape, on every instruction set, against the numpy reference."""

from __future__ import annotations

import numpy as np
import pytest
from native_check import assert_step
from native_networks import Builder

from edge.libmest.library import instruction_sets
from edge.network.operators.activation_functions import Silu
from edge.plan.choices import Choices

FORMATS = ("dense", "csr", "block", "pattern", "channel", "masked")
# kernel, stride, padding (top, left, bottom, right), dilation: odd ones, those that leave input rows unread, and those
# whose padding is wider than the window
CHANNELS_OF_BANDS = 384  # what a chunk's windows read of so many is more than half of 128 KiB as well
WINDOWS = (
    (3, 1, 1, 1),
    (3, 2, 1, 1),
    (1, 1, 0, 1),
    (1, 2, 0, 1),
    ((3, 5), (2, 1), (2, 0, 1, 3), (1, 2)),
    ((2, 3), (3, 2), (0, 1, 2, 0), (2, 1)),
    (5, 3, 2, 1),
    (4, 1, (3, 0, 0, 3), 1),
    (1, 1, 1, 1),
    (1, (2, 1), 3, 1),
    (2, 1, (0, 3, 1, 2), 1),
    (3, 1, 4, 1),
    ((1, 2), 1, (2, 5, 1, 4), (1, 3)),
)


@pytest.mark.parametrize("instruction_set", instruction_sets())
@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("fmt", ["dense", "csr", "block", "channel"])
def test_windows(fmt: str, window: tuple, instruction_set: str) -> None:
    """Any stride, padding, kernel and dilation, forward and both gradients, on an odd image."""
    kernel, stride, padding, dilation = window
    b = Builder((3, 11, 13), 4, seed=3)
    x = b.conv("input", 6, 3, fmt="dense")
    x = b.conv(x, 8, kernel, stride, padding, dilation, fmt=fmt, sparsity=0.6, bias=True)
    assert_step(b.head(x), Choices(batch_size=3, micro_batch=3, threads=2), instruction_set=instruction_set)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 16, 17, 24, 33])
@pytest.mark.parametrize("fmt", FORMATS)
def test_batch_sizes(fmt: str, batch_size: int) -> None:
    """Batches that are no multiple of a vector, in one group of samples or several."""
    b = Builder((3, 7, 9), 3, seed=batch_size)
    x = b.relu(b.conv("input", 8, 3, fmt="dense"))
    x = b.relu(b.conv(x, 12, 3, 2, fmt=fmt, sparsity=0.7))
    assert_step(b.head(x), Choices(batch_size=batch_size, micro_batch=batch_size, threads=2))


@pytest.mark.parametrize("groups", [2, 4, 8])
@pytest.mark.parametrize("fmt", ["dense", "csr", "block"])
def test_groups_and_depthwise(fmt: str, groups: int) -> None:
    """Grouped and depthwise convolutions."""
    b = Builder((3, 6, 6), 3, seed=groups)
    x = b.conv("input", 8, 3)
    x = b.conv(x, 32 if fmt == "block" else 16, 3, 2, groups=groups, fmt=fmt, sparsity=0.5, bias=True)
    x = b.conv(x, 8, 1, 1, 0)
    assert_step(b.head(x), Choices(batch_size=4, micro_batch=4, threads=3))


@pytest.mark.parametrize("instruction_set", instruction_sets())
@pytest.mark.parametrize("window", [(3, 1, 1, 1), (3, 2, 1, 1), ((1, 3), 1, 0, (1, 2))], ids=str)
@pytest.mark.parametrize("fmt", ["csr", "block"])
def test_layers_that_are_run_through_in_bands(fmt: str, window: tuple, instruction_set: str) -> None:
    """As many channels as no first cache holds, of one group and of two, with gradients that add to others."""
    kernel, stride, padding, dilation = window
    b = Builder((3, 6, 6), 3, seed=1)
    x = b.relu(b.conv("input", CHANNELS_OF_BANDS, 1, padding=0))
    y = b.conv(x, 192, kernel, stride, padding, dilation, fmt=fmt, sparsity=0.9)
    z = b.conv(x, 192, kernel, stride, padding, dilation, groups=2, fmt=fmt, sparsity=0.8)
    assert_step(b.head(b.add(y, z)), Choices(batch_size=16, micro_batch=16, threads=2), instruction_set=instruction_set)


@pytest.mark.parametrize("height", [1, 2, 3, 4, 6, 8, 12])
def test_block_heights(height: int) -> None:
    """Blocks of any height, cut into the rows that a kernel takes together."""
    b = Builder((3, 8, 8), 3)
    x = b.conv("input", 8, 3)
    x = b.conv(x, 24, 3, fmt="block", height=height, sparsity=0.7)
    assert_step(b.head(x), Choices(batch_size=2, micro_batch=2, threads=2))


@pytest.mark.parametrize("out", [1, 2, 3, 5, 7])
def test_odd_channel_counts(out: int) -> None:
    """Rows that are left over when four are taken at a time, for outputs and inputs."""
    b = Builder((3, 5, 5), 3)
    x = b.conv(b.conv("input", out, 3), out + 2, 3, fmt="csr", sparsity=0.3)
    assert_step(b.head(b.conv(x, 3, 3)), Choices(batch_size=3, micro_batch=3, threads=2))


@pytest.mark.parametrize("fmt", ["dense", "csr", "block", "channel", "masked"])
def test_linear(fmt: str) -> None:
    """Linear layers, sparse and dense, after a flattened image."""
    b = Builder((2, 5, 5), 4)
    x = b.flatten(b.relu(b.conv("input", 4, 3)))
    x = b.relu(b.linear(x, 12, fmt, 0.6))
    b.linear(x, 4, "dense")
    assert_step(b.network(), Choices(batch_size=6, micro_batch=6, threads=2))


@pytest.mark.parametrize("positions", [(13, 5), (7, 7), (1, 37)])
@pytest.mark.parametrize("fmt", ["dense", "csr", "block", "channel", "masked"])
def test_pointwise(fmt: str, positions: tuple[int, int]) -> None:
    """1x1 windows and their mirrored ones, whose positions may lie in other rows than the image's, behind a batch norm.

    37 positions are one row or as many as they are.
    """
    b = Builder((3, *positions), 4, seed=5)
    x = b.relu(b.norm(b.conv("input", 8, 1, padding=0)))
    x = b.activation(Silu, b.norm(b.conv(x, 12, 1, padding=0, fmt=fmt, sparsity=0.6, bias=True)))
    x = b.norm(b.conv_transpose(x, 8, (1, 1), (1, 1), fmt="csr" if fmt == "channel" else fmt))
    assert_step(b.head(b.conv(x, 4, 1, padding=0, groups=2)), Choices(batch_size=6, micro_batch=6, threads=2))


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [4, 16, 40])
def test_threads_and_tiles(threads: int, size: int) -> None:
    """Any number of threads over images of one tile or many; the cut differs, the result does not."""
    b = Builder((3, size, size), 3)
    x = b.conv("input", 8, 3)
    x = b.conv(x, 8, 3, fmt="csr", sparsity=0.5, bias=True)
    assert_step(b.head(x), Choices(batch_size=2, micro_batch=2, threads=threads))


def test_a_row_without_weights() -> None:
    """Output channels that have no weight left give zero, and so do input channels that nobody reads."""
    b = Builder((3, 6, 6), 3)
    x = b.conv("input", 8, 3)
    x = b.conv(x, 8, 3, fmt="csr", sparsity=0.995)
    assert_step(b.head(x), Choices(batch_size=2, micro_batch=2))


def test_the_result_depends_on_nothing_but_the_threads() -> None:
    """Two runs with the same number of threads give the same bits."""
    from native_check import batch

    from edge.engines.native.engine import NativeEngine

    b = Builder((3, 12, 12), 3)
    network = b.head(b.relu(b.norm(b.conv("input", 8, 3))))
    images, labels = batch(network, 8)
    ends = []
    for _ in range(2):
        engine = NativeEngine.of(network, Choices(batch_size=8, micro_batch=8, threads=2))
        for _ in range(3):
            engine.train_step(images, labels, 0.1)
        ends.append({name: value.copy() for name, value in engine.snapshot().items()})
        engine.close()
    assert all(np.array_equal(ends[0][name], ends[1][name]) for name in ends[0])
