"""The arena that is planned is the arena that is used: nothing is written outside it, nothing of it is spare."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from native_check import batch
from native_guards import PATTERN, mixed
from native_networks import resnet

from edge.engines.native.engine import NativeEngine
from edge.errors import BudgetError
from edge.libmest.library import available
from edge.plan.choices import Choices
from edge.run.forgetting import Forgetting

pytestmark = pytest.mark.skipif(not available()[0], reason=f"needs the native engine: {available()[1]}")


NETWORKS = {"mixed": mixed, "residual": lambda: resnet("csr", 0.9, blocks=2, width=8, size=16)}
PLANS = (
    Choices(batch_size=8, micro_batch=8),
    Choices(batch_size=8, micro_batch=8, threads=3),
    Choices(batch_size=32, micro_batch=32, threads=2, recompute="activations"),
    Choices(batch_size=20, micro_batch=20, threads=2, recompute="blocks", last_batch=7),
    Choices(batch_size=7, micro_batch=3, threads=2, batch_norm="frozen"),
    Choices(batch_size=5, micro_batch=5, threads=2, trainable="last:2"),
    Choices(batch_size=1, micro_batch=1, threads=2),
    Choices(batch_size=8, micro_batch=8, threads=3, saved="bfloat16"),
    Choices(batch_size=20, micro_batch=20, threads=2, recompute="blocks", last_batch=7, saved="int8"),
)


@pytest.mark.parametrize(
    "choices", PLANS, ids=lambda choices: f"{choices.batch_size}-{choices.recompute}-{choices.saved}"
)
@pytest.mark.parametrize("network", NETWORKS)
def test_the_arena_planned_is_the_arena_used(network: str, choices: Choices, guarded) -> None:
    """A step writes up to the last 64 bytes of the planned arena, and no byte around it or around any other array."""
    found = NETWORKS[network]()
    engine = NativeEngine.of(found, choices)
    assert engine.arena.size == engine.footprint.arena.nbytes == NativeEngine.estimate(found, choices).arena.nbytes
    touched = np.zeros(engine.arena.size, bool)
    images, labels = batch(found, choices.batch_size)
    for pattern in (0x5A, 0xA7):  # what happens to equal one of the two is written all the same
        engine.arena[:] = pattern
        engine.train_step(images, labels, 0.01)
        for rest in choices.pieces[1:]:
            engine.train_step(images[:rest], labels[:rest], 0.01)
        engine.predict(images)
        touched |= engine.arena != pattern
    engine.close()
    assert np.flatnonzero(touched).max() >= touched.size - 64
    for raw, start, end in guarded:
        assert (raw[:start] == PATTERN).all()
        assert (raw[end:] == PATTERN).all()


@pytest.mark.parametrize(
    "choices", PLANS, ids=lambda choices: f"{choices.batch_size}-{choices.recompute}-{choices.saved}"
)
def test_a_poisoned_arena_changes_nothing(choices: Choices) -> None:
    """No step reads what it or an earlier one has not written: NaN in every byte gives the same weights."""
    network = mixed()
    images, labels = batch(network, choices.batch_size)
    ends = []
    for poison in (0, 0xFF):
        engine = NativeEngine.of(network, choices)
        engine.arena[:] = poison
        loss = engine.train_step(images, labels, 0.05).loss
        engine.arena[:] = poison
        ends.append({**engine.snapshot(), "loss": np.array(loss), "logits": engine.predict(images)})
        ends[-1] = {name: array.copy() for name, array in ends[-1].items()}
        engine.close()
    for name, array in ends[0].items():
        np.testing.assert_array_equal(array, ends[1][name], err_msg=name)


def test_the_smaller_last_batch_is_planned_for() -> None:
    """A micro-batch of 24 samples takes more than one of 25; planned up front it runs, else it is refused unharmed."""
    network = resnet("csr", 0.9, blocks=2, width=8, size=16)
    images, labels = batch(network, 25)
    alone = Choices(batch_size=25, micro_batch=25, threads=2, recompute="blocks")
    planned = replace(alone, last_batch=24)
    needed = NativeEngine.estimate(network, replace(alone, batch_size=24, micro_batch=24)).arena.nbytes
    assert needed > NativeEngine.estimate(network, alone).arena.nbytes
    assert NativeEngine.estimate(network, planned).arena.nbytes == needed
    engine = NativeEngine.of(network, planned)
    engine.train_step(images[:24], labels[:24], 0.01)
    refusing = NativeEngine.of(network, alone)
    before = {name: array.copy() for name, array in refusing.snapshot().items()}
    with pytest.raises(BudgetError, match="micro-batch of 24 samples"):
        refusing.train_step(images[:24], labels[:24], 0.01)
    for name, array in refusing.snapshot().items():
        np.testing.assert_array_equal(array, before[name])
    refusing.train_step(images[:7], labels[:7], 0.01)  # what fits runs, planned or not
    engine.close()
    refusing.close()


@pytest.mark.parametrize(
    ("batch_size", "micro_batch", "last_batch", "pieces"),
    [(32, 32, 0, (32,)), (32, 8, 0, (8,)), (32, 5, 0, (5, 2)), (32, 5, 13, (5, 3, 2)), (32, 32, 13, (32, 13))],
)
def test_pieces_of_a_run(batch_size: int, micro_batch: int, last_batch: int, pieces: tuple[int, ...]) -> None:
    """The micro-batch, and what is left of a whole batch and of the last one."""
    assert Choices(batch_size=batch_size, micro_batch=micro_batch, last_batch=last_batch).pieces == pieces


def test_samples_are_dropped_by_whole_batches() -> None:
    """So the last batch keeps the size that was planned for; which samples stay is drawn, not the last in line."""
    samples = np.arange(100)
    forgetting = Forgetting(100)
    forgetting.observe(samples, samples < 75)
    assert forgetting.drop_unforgotten(samples, whole=32, seed=1) == 64
    kept = forgetting.kept(samples)
    assert len(kept) % 32 == 100 % 32
    assert set(range(75, 100)) <= set(kept.tolist())
    assert kept[:11].tolist() != list(range(64, 75))
