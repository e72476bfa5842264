"""Attention and tokens in the native engine against the numpy reference, and what their steps hold."""

from __future__ import annotations

import numpy as np
import pytest
from native_check import assert_step, batch
from native_networks import Builder

from edge.engines.native.engine import NativeEngine
from edge.engines.native.listing import training_listing
from edge.engines.native.prepared import build_model
from edge.libmest.library import instruction_sets
from edge.network import Add, Network
from edge.plan.choices import Choices


def transformer(b: Builder, layers: int = 2, width: int = 8, fmt: str = "dense") -> Network:
    """Patches, two stored tokens, positions, layers, and the classifier behind one token and the mean of the others."""
    x = b.conv("input", width, 2, 2, 0, bias=True)
    _, height, patch_width = b.shapes[x]
    count = height * patch_width
    x = b.stored(Add, b.prepend(x, 2), b.random.normal(size=(1, count + 2, width)), last=True)
    for _ in range(layers):
        x = b.transformer(x, 2, fmt)
    x = b.sample_norm(x, 0)
    x = b.concat(b.positions(x, 1), b.global_pool(b.positions(x, 2, count)))
    b.linear(b.flatten(x), b.classes)
    return b.network()


@pytest.mark.parametrize("fmt", ["dense", "csr", "block"])
@pytest.mark.parametrize("recompute", ["none", "activations", "blocks"])
def test_transformers_agree_with_the_reference(recompute: str, fmt: str) -> None:
    """Three steps of every instruction set, one thread and three, whole batches and pieces."""
    for threads, micro_batch in ((1, 5), (3, 2)):
        for instruction_set in instruction_sets():
            network = transformer(Builder((3, 9, 7), 4, seed=3), fmt=fmt)
            choices = Choices(5, micro_batch, recompute=recompute, threads=threads)
            assert_step(network, choices, instruction_set=instruction_set, tolerance=2e-4, steps=3)


@pytest.mark.parametrize("size", [1, 7, 16, 34, 48, 137, 523])
def test_samples_side_by_side(size: int) -> None:
    """Any number of samples, more than a strip too."""
    assert_step(transformer(Builder((1, 5, 6), 3, seed=4), 1), Choices(size, size, threads=2), tolerance=2e-4)


@pytest.mark.parametrize("trainable", ["bias", "last:1", "last:3", "t1", "o2", "w0"])
def test_parts_alone(trainable: str) -> None:
    """What is not trained stays, and what lies before it is not gone back to."""
    network = transformer(Builder((3, 6, 8), 4, seed=5))
    assert_step(network, Choices(4, 4, threads=2, trainable=trainable), tolerance=2e-4)


@pytest.mark.parametrize(("windows", "bias", "masks"), [(1, 5, 0), (4, 7, 0), (6, 0, 6), (4, 300, 1), (2, 1, 2)])
@pytest.mark.parametrize("samples", [3, 16, 70])
def test_windows_biases_and_masks_agree_with_the_reference(windows: int, bias: int, masks: int, samples: int) -> None:
    """More queries than are taken at a time and fewer; numbers of a bias that no score reads, and one for all."""
    for instruction_set in instruction_sets():
        b = Builder((3, 4, 12), 4, seed=windows + samples)
        x = b.attention(b.linear("input", 12), 2, 0.7, windows, bias, masks)
        network = b.head(b.relu(b.norm(b.linear(b.add(x, b.attention(b.linear(x, 12), 1)), 6))))
        choices = Choices(samples, samples, threads=2)
        assert_step(network, choices, instruction_set=instruction_set, tolerance=2e-4, steps=2)


def test_a_bias_alone() -> None:
    """In front of the first trained layer nothing is kept of the gradient of queries, keys and values."""
    b = Builder((3, 4, 6), 4, seed=11)
    network = b.head(b.attention(b.linear("input", 12), 2, 1.0, 3, 9, 3))
    (name,) = (operator.bias for operator in network.operators if operator.op == "attention")
    assert_step(network, Choices(10, 5, threads=2, trainable=name), tolerance=2e-4)


@pytest.mark.parametrize("micro_batch", [3, 6])
def test_listed_positions_agree_with_the_reference(micro_batch: int) -> None:
    """All of them in another order, and a few; read through a norm, and beside another reader."""
    b = Builder((3, 6, 8), 4, seed=10)
    x = b.relu(b.norm(b.conv("input", 6)))
    order = b.random.permutation(48)
    mixed = b.norm(b.linear(b.select_positions(x, order), 6))
    back = b.reshape(b.select_positions(mixed, order.argsort()), 6)
    x = b.reshape(b.select_positions(b.add(x, back), np.arange(0, 48, 2)), 4)
    assert_step(b.head(x), Choices(6, micro_batch, batch_norm="frozen", threads=2), tolerance=2e-4)


def test_attention_behind_a_batch_norm_and_before_one() -> None:
    """Its input is stored first where it is read through something; its own value may be read through a norm."""
    b = Builder((3, 5, 5), 4, seed=6)
    x = b.relu(b.norm(b.conv("input", 12)))
    x = b.relu(b.norm(b.attention(x, 2)))
    assert_step(b.head(b.add(x, b.attention(b.conv(x, 12), 1))), Choices(6, 6, threads=2), tolerance=2e-4)


def test_large_scores_and_wide_strips() -> None:
    """Scores far apart lose nothing but the small weights; more positions than a strip holds."""
    b = Builder((2, 9, 61), 3, seed=7)
    x = b.attention(b.linear(b.conv("input", 4), 6), 2, 40.0)
    assert_step(b.head(x), Choices(3, 3, threads=2), tolerance=5e-4)


def test_no_square_of_positions_is_held() -> None:
    """Scratch and saved bytes of attention grow with the positions, not with their square."""
    held = []
    for side in (8, 16):
        b = Builder((3, side, side), 3, seed=8)
        network = b.head(b.attention(b.linear("input", 12), 2))
        listing = training_listing(build_model(network, Choices(4, 4, threads=1)), 4)
        held.append(sum(buffer.nbytes for buffer in listing.buffers if "attention" in buffer.name))
    assert 0 < held[1] <= 4 * held[0]


def test_threads_change_no_bit() -> None:
    """Each head and each channel of the tokens is summed by one thread."""
    network = transformer(Builder((3, 9, 7), 4, seed=9))
    images, labels = batch(network, 20)
    found = []
    for threads in (1, 2, 3):
        engine = NativeEngine.of(network, Choices(20, 20, threads=threads, trainable="t1"))
        engine.train_step(images, labels, 0.1)
        found.append({name: value.tobytes() for name, value in engine.snapshot().items() if name.startswith("t1")})
        engine.close()
    assert found[0] == found[1] == found[2]
