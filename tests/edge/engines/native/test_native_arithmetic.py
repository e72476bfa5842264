"""Arithmetic of two operands against the numpy reference: gates, stored tensors, threads, batch sizes."""

from __future__ import annotations

import numpy as np
import pytest
from native_check import assert_step
from native_networks import Builder
from stored_shapes import stored_shapes

from edge.engines.native.blueprint import draw
from edge.engines.native.engine import NativeEngine
from edge.libmest.library import available
from edge.network import Add, Arithmetic, Div, Mul, Network, Sub
from edge.network.operators.arithmetic import PRelu
from edge.plan.choices import Choices

pytestmark = pytest.mark.skipif(not available()[0], reason=f"needs the native engine: {available()[1]}")
IMAGE = (6, 7, 5)
KINDS = (Add, Sub, Mul, Div, PRelu)


def gated(gates: int = 1, made_of: str = "pooled") -> Network:
    """A convolution's value times what a small branch makes of it, behind a batch norm; the last gate is a square."""
    b = Builder((3, 7, 5), 4)
    x = b.relu(b.norm(b.conv("input", 6)))
    for _ in range(gates):
        squeezed = b.global_pool(x) if made_of == "pooled" else x
        gate = b.relu(b.norm(b.conv(squeezed, 6 if made_of == "pooled" else 1, 1, 1, 0)))
        x = b.relu(b.norm(b.arithmetic(Mul, x, gate)))
    return b.head(b.arithmetic(Mul, x, x))


def beside(b: Builder, kind: type[Arithmetic], value: str) -> str:
    """A value of both signs for PReLU, which tells them apart; for the others one that can be divided by."""
    return value if kind is PRelu else b.stored(Add, b.relu(value), np.array(1.0), trained=False)


def with_stored(kind: type[Arithmetic], shape: tuple[int, ...], first: bool, trained: bool) -> Network:
    """A stored tensor beside a convolution's value."""
    b = Builder((3, 7, 5), 4)
    x = beside(b, kind, b.norm(b.conv("input", IMAGE[0])))
    x = b.stored(kind, x, b.random.uniform(0.5, 1.5, shape), first, trained)
    return b.head(b.norm(b.conv(x, 5)))


@pytest.mark.parametrize("made_of", ["pooled", "cells"])
@pytest.mark.parametrize("recompute", ["none", "activations", "blocks"])
@pytest.mark.parametrize(("batch", "threads"), [(2, 1), (7, 3), (16, 2), (34, 2)])
def test_gates_agree_with_the_reference(made_of: str, recompute: str, batch: int, threads: int) -> None:
    """One number a channel, or one a cell, that is made of what it multiplies; and a value times itself."""
    choices = Choices(batch_size=batch, micro_batch=batch, recompute=recompute, threads=threads)
    assert_step(gated(3, made_of), choices, tolerance=1e-4)


@pytest.mark.parametrize("shape", stored_shapes(IMAGE))
@pytest.mark.parametrize("kind", KINDS)
def test_stored_tensors_agree_with_the_reference(kind: type[Arithmetic], shape: tuple[int, ...]) -> None:
    """Every shape on both sides, trained and constant, over two micro-batches."""
    for first, trained in ((False, True), (True, True), (True, False)):
        choices = Choices(batch_size=10, micro_batch=5, batch_norm="frozen", threads=2)
        assert_step(with_stored(kind, shape, first, trained), choices, tolerance=1e-4, steps=2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("small", [(6, 1, 1), (1, 7, 5), (1, 1, 1), (6, 1, 5), (6, 7, 1)])
def test_a_value_that_is_broadcast_agrees_with_the_reference(kind: type[Arithmetic], small: tuple[int, ...]) -> None:
    """On either side: pooled to what remains, then broadcast again."""
    for swapped in (False, True):
        b = Builder((3, 7, 5), 4)
        x = beside(b, kind, b.norm(b.conv("input", 6)))
        kernel = (8 - small[1], 6 - small[2])
        other = b.stored(Add, b.relu(b.conv(x, small[0], kernel, 1, 0)), np.full((small[0], 1, 1), 1.5))
        assert b.shapes[other] == small
        x = b.arithmetic(kind, *((other, x) if swapped else (x, other)))
        assert_step(b.head(b.relu(b.norm(x))), Choices(batch_size=6, micro_batch=6, threads=2), tolerance=1e-4)


def test_more_samples_than_a_strip_holds() -> None:
    """A prime number of them is one group, whatever its size."""
    b = Builder((2, 3, 2), 3)
    x = b.conv("input", 4)
    x = b.arithmetic(Mul, x, b.relu(b.global_pool(x)))
    x = b.arithmetic(Sub, b.stored(Mul, x, np.full((4, 1, 1), 0.7)), b.conv(x, 1))
    assert_step(b.head(x), Choices(batch_size=521, micro_batch=521, threads=2), tolerance=1e-4)


def test_the_gradient_of_a_gated_value_takes_over_that_of_the_product() -> None:
    """A gate needs no gradient buffer of the image's size beside the product's own."""
    b = Builder((3, 16, 16), 4)
    x = b.conv("input", 8)
    gate = b.relu(b.conv(b.global_pool(x), 8, 1, 1, 0))
    network = b.head(b.conv(b.arithmetic(Mul, x, gate), 8))
    listing = draw(network, Choices(batch_size=4, micro_batch=4)).training[4].listing
    gradients = [slot for slot in listing.slots if slot.label.startswith("grad ") and slot.nbytes == 4 * 4 * 8 * 256]
    assert [slot.label for slot in gradients] == ["grad conv5", "grad mul4"]


def test_what_nobody_trains_has_no_step() -> None:
    """In front of the first trained layer neither values nor stored tensors get gradients."""
    b = Builder((3, 7, 5), 4)
    x = b.stored(Div, b.stored(Sub, "input", np.full((3, 1, 1), 0.4), trained=False), np.full((3, 1, 1), 0.2))
    network = b.head(b.conv(x, 4))
    choices = Choices(batch_size=4, micro_batch=4, trainable="w.*")
    engine = NativeEngine.of(network, choices)
    operators = engine.training[4].operators
    engine.close()
    assert "stored_grad" not in operators
    assert "arithmetic_grad" not in operators
    assert operators.count("arithmetic") == 2
    assert_step(network, choices)
