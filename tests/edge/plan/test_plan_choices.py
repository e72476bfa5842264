"""Choices and optimizers: what follows from them, and what they refuse."""

from __future__ import annotations

import pytest

from edge.errors import InputError
from edge.plan.choices import Choices, OptimizerChoice


@pytest.mark.parametrize(
    ("batch", "micro", "last", "pieces"),
    [
        (32, 32, 0, (32,)),
        (32, 8, 0, (8,)),
        (32, 5, 0, (5, 2)),  # 6 whole ones and 2 left
        (32, 32, 13, (32, 13)),
        (32, 5, 13, (5, 3, 2)),  # the smaller batch leaves 3
        (32, 5, 12, (5, 2)),  # and here 2, as every batch does
        (32, 4, 12, (4,)),
    ],
)
def test_pieces_are_the_micro_batch_and_what_each_batch_leaves(batch: int, micro: int, last: int, pieces) -> None:
    """Every number of samples that is computed at once in a run, once, the largest first."""
    assert Choices(batch_size=batch, micro_batch=micro, last_batch=last).pieces == pieces


def test_a_step_is_exact_whole_or_with_frozen_batch_norm() -> None:
    """Smaller pieces under training batch norm see other statistics."""
    assert Choices(batch_size=8, micro_batch=8).exact
    assert Choices(batch_size=8, micro_batch=4, batch_norm="frozen").exact
    assert not Choices(batch_size=8, micro_batch=4).exact


@pytest.mark.parametrize(
    ("optimizer", "floats"),
    [
        (OptimizerChoice(), 1),
        (OptimizerChoice(momentum=0.0), 0),
        (OptimizerChoice(kind="adamw"), 2),
        (OptimizerChoice(kind="adamw", momentum=0.0), 2),
    ],
)
def test_floats_that_an_optimizer_keeps_for_a_weight(optimizer: OptimizerChoice, floats: int) -> None:
    """None without momentum, a velocity with it, two moments for AdamW."""
    assert optimizer.state_per_weight == floats


def test_nesterov_momentum_without_momentum_is_refused() -> None:
    """As PyTorch refuses it."""
    with pytest.raises(InputError, match="nesterov"):
        OptimizerChoice(momentum=0.0, nesterov=True)
