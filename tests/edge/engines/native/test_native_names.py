"""What operators are called changes nothing: not even a name that reads like another's buffer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from native_check import batch
from native_networks import Builder

from edge.engines.native.engine import NativeEngine
from edge.engines.native.listing import training_listing
from edge.engines.native.prepared import build_model
from edge.libmest.library import available
from edge.network import Network, read_network, write_network
from edge.plan.choices import Choices

pytestmark = pytest.mark.skipif(not available()[0], reason=f"needs the native engine: {available()[1]}")

CHOICES = (
    Choices(batch_size=6, micro_batch=6, threads=2),
    Choices(batch_size=6, micro_batch=6, recompute="blocks"),
    Choices(batch_size=6, micro_batch=6, recompute="activations"),
)


def network() -> Network:
    """Two residual blocks with batch norm, a pooling, and convolutions in two formats."""
    b = Builder((3, 7, 6), 4)
    x = b.relu(b.norm(b.conv("input", 8)))
    for fmt in ("csr", "block"):
        y = b.relu(b.norm(b.conv(x, 8, fmt=fmt)))
        x = b.relu(b.add(b.norm(b.conv(y, 8, fmt=fmt)), x))
    return b.head(b.norm(b.max_pool(x, 2, 2)))


def renamed(given: Network, old: str, new: str) -> Network:
    """The network with one operator called otherwise."""
    operators = tuple(
        replace(
            one,
            name=new if one.name == old else one.name,
            inputs=tuple(new if value == old else value for value in one.inputs),
        )
        for one in given.operators
    )
    return replace(given, operators=operators)


def trained(given: Network, choices: Choices) -> dict[str, np.ndarray]:
    """Every array after two steps."""
    engine = NativeEngine.of(given, choices)
    images, labels = batch(given, choices.batch_size)
    for _ in range(2):
        engine.train_step(images, labels, 0.05)
    found = {name: array.copy() for name, array in engine.snapshot().items()}
    engine.close()
    return found


@pytest.mark.parametrize("choices", CHOICES, ids=lambda choices: f"{choices.recompute}-{choices.threads}")
def test_an_operator_named_like_any_buffer_trains_alike(choices: Choices, tmp_path) -> None:
    """Sums, statistics, slopes, scratch, gradients, values computed again: each label in turn names a convolution."""
    given = network()
    expected = trained(given, choices)
    names = {operator.name for operator in given.operators}
    labels = {slot.label for slot in training_listing(build_model(given, choices), 6).slots} - names - {"input"}
    assert {label.rpartition(".")[2] for label in labels} > {"sums", "statistics", "slopes", "gradient sums"}
    victim = given.operators[6].name
    for label in sorted(labels):
        if label.removeprefix("grad ").startswith(victim):
            continue  # the victim's own buffers bear its new name
        write_network(renamed(given, victim, label), tmp_path)
        found = trained(read_network(tmp_path), choices)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, err_msg=f"{victim} called {label!r}: {name}")
