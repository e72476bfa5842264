"""What a run and a board call forgotten."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="one of the twins is training, which needs PyTorch")

from edge.run.forgetting import Forgetting
from mest.ranking.forgetting import ForgettingTracker


@given(samples=st.integers(1, 40), rounds=st.integers(0, 12), seed=st.integers(0, 2**32 - 1), luck=st.floats(0, 1))
def test_both_drop_the_same_samples_random(samples: int, rounds: int, seed: int, luck: float) -> None:
    """Those that were learned and never forgotten, whatever the order and the batches in which they came."""
    rng = np.random.default_rng(seed)
    tracker, board = ForgettingTracker(samples), Forgetting(samples)
    for _ in range(rounds):
        presented = rng.permutation(samples)[: rng.integers(0, samples + 1)]
        correct = rng.random(len(presented)) < luck
        for part in np.array_split(np.arange(len(presented)), rng.integers(1, 4)):
            tracker.update(presented[part], correct[part])
            board.observe(presented[part], correct[part])
    easy = tracker.learned() & (tracker.counts() == 0)
    everything = np.arange(samples)
    dropped = board.drop_unforgotten(everything)
    kept = everything if easy.all() else everything[~easy]  # a board never drops all
    np.testing.assert_array_equal(board.kept(everything), kept)
    assert dropped == samples - len(kept)
