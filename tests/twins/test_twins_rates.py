"""The learning rate of training and of the board: one word, one curve."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="one of the twins is training, which needs PyTorch")

from edge.run import rate as board
from mest.train.rate import learning_rate
from mest.train.recipe import build_config


@given(st.integers(1, 300), st.one_of(st.none(), st.sets(st.integers(1, 300), min_size=1)), st.floats(0.01, 1))
def test_steps_fall_at_the_same_epochs_by_the_same_share(
    epochs: int, milestones: set[int] | None, gamma: float
) -> None:
    """With milestones given and with the published ones, scaled; in every epoch, at its first batch and at its last."""
    given = tuple(sorted(milestones)) if milestones else ()
    options = {"epochs": str(epochs), "lr-scheduler": "step", "lr": "0.5", "lr-gamma": repr(gamma)}
    options |= {"lr-milestones": "-".join(map(str, given))} if given else {}
    trained = build_config(options).optimizer
    for epoch in range(epochs):
        left = board.fallen(epoch, given or board.milestones_of(epochs), gamma)
        for batch in (0, 0.999):
            there = board.learning_rate("step", 0.5, (epoch + batch) / epochs, left=left)
            assert there == pytest.approx(learning_rate(trained, epoch, epochs), rel=1e-12)
