"""Group, instance and layer norm in the native engine, wherever they stand, against the numpy reference."""

from __future__ import annotations

import numpy as np
import pytest
from native_check import assert_step, batch
from native_networks import Builder

from edge.engines.native.engine import NativeEngine
from edge.engines.reference import Reference
from edge.libmest.library import instruction_sets
from edge.network import Network
from edge.network.operators.activation_functions import Silu
from edge.plan.choices import Choices

KINDS = {"group": (2, False), "instance": (8, False), "layer": (0, False), "sample": (1, True)}


def everywhere(b: Builder, groups: int, per_cell: bool, roles: str = "both") -> Network:
    """Behind layers, batch norm, activations, sums, pools, itself; read twice, before batch norm; of a vector."""
    x = b.relu(b.sample_norm(b.conv("input", 8, bias=True), groups, roles, per_cell))
    y = b.activation(Silu, b.sample_norm(b.relu(b.norm(b.conv(x, 8))), groups, roles, per_cell))
    z = b.sample_norm(b.add(x, b.sample_norm(y, groups, roles, per_cell)), groups, roles, per_cell)
    x = b.relu6(b.add(b.norm(z), b.conv(z, 8)))
    x = b.norm(b.sample_norm(b.max_pool(x), groups, roles, per_cell))
    x = b.linear(b.flatten(x), 16)
    x = b.sample_norm(x, min(groups, 4), roles, per_cell)
    b.linear(b.relu(x), b.classes)
    return b.network()


@pytest.mark.parametrize("recompute", ["none", "activations", "blocks"])
@pytest.mark.parametrize("kind", KINDS)
def test_wherever_they_stand(kind: str, recompute: str) -> None:
    """Three steps of every instruction set, with one thread and three, whole batches and pieces."""
    for threads, batch_norm, micro_batch in ((1, "train", 5), (3, "train", 5), (3, "frozen", 2)):
        choices = Choices(5, micro_batch, recompute=recompute, threads=threads, batch_norm=batch_norm)
        for instruction_set in instruction_sets():
            network = everywhere(Builder((3, 9, 7), 4, seed=3), *KINDS[kind])
            assert_step(network, choices, instruction_set=instruction_set, tolerance=2e-4, steps=3)


@pytest.mark.parametrize("roles", ["scale", "shift", "none"])
@pytest.mark.parametrize("kind", KINDS)
def test_parameters_that_are_not_there(kind: str, roles: str) -> None:
    """A norm without scale or shift."""
    network = everywhere(Builder((2, 6, 5), 3, seed=4), *KINDS[kind], roles)
    assert_step(network, Choices(4, 4, threads=2), tolerance=2e-4)


@pytest.mark.parametrize("trainable", ["bias", "last:1", "last:2", "g0|h3"])
@pytest.mark.parametrize("kind", KINDS)
def test_parts_alone(kind: str, trainable: str) -> None:
    """What is not trained stays, and what lies before it is not gone back to."""
    network = everywhere(Builder((3, 7, 8), 4, seed=5), *KINDS[kind])
    trainable = "g1|h4|w0" if trainable == "g0|h3" else trainable
    assert_step(network, Choices(4, 4, threads=2, trainable=trainable), tolerance=2e-4)


@pytest.mark.parametrize("size", [1, 17, 48, 523])
@pytest.mark.parametrize("kind", KINDS)
def test_samples_side_by_side(kind: str, size: int) -> None:
    """Any number of samples, more than a strip too."""
    b = Builder((1, 3, 5), 3, seed=6)
    x = b.sample_norm(b.conv("input", 8, bias=True), *(KINDS[kind][0], "both", KINDS[kind][1]))
    assert_step(b.head(b.relu(x)), Choices(size, size, threads=2), tolerance=2e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_change_no_bit(kind: str) -> None:
    """The sums of a norm are in an order that the number of threads has no part in."""
    b = Builder((3, 9, 11), 4, seed=7)
    b.linear(b.flatten(b.sample_norm(b.sample_norm("input", 1 if KINDS[kind][0] else 0), *_three(kind))), b.classes)
    network = b.network()
    images, labels = batch(network, 20)
    found = []
    for threads in (1, 2, 3):
        engine = NativeEngine.of(network, Choices(20, 20, threads=threads, trainable="g[01]|h[01]"))
        engine.train_step(images, labels, 0.1)
        found.append({name: array.copy() for name, array in engine.snapshot().items() if name[0] in "gh"})
        engine.close()
    for other in found[1:]:
        assert all(np.array_equal(found[0][name], array) for name, array in other.items())


def _three(kind: str) -> tuple[int, str, bool]:
    groups, per_cell = KINDS[kind]
    return 3 if groups == 8 else min(groups, 1), "both", per_cell


@pytest.mark.parametrize("kind", KINDS)
def test_large_means_cost_no_accuracy(kind: str) -> None:
    """Values far from zero, where a difference of squares would have nothing left."""
    b = Builder((8, 6, 6), 4, seed=8)
    b.linear(b.flatten(b.sample_norm("input", KINDS[kind][0], "both", KINDS[kind][1])), b.classes)
    network = b.network()
    images, labels = batch(network, 6)
    images = (images + 1000).astype(np.float32)
    choices = Choices(6, 6, threads=2)
    reference, engine = Reference(network, choices), NativeEngine.of(network, choices)
    expected, result = reference.predict(images), np.array(engine.predict(images))
    assert np.abs(result - expected).max() < 1e-3
    assert abs(reference.train_step(images, labels, 0.1).loss - engine.train_step(images, labels, 0.1).loss) < 1e-3
    engine.close()
