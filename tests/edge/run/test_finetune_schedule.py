"""Learning rates, mutation phases, forgetting and randomness: small functions, by eye."""

from __future__ import annotations

import numpy as np
import pytest

from edge import chance
from edge.run.forgetting import Forgetting
from edge.run.rate import densest_sparsity, fallen, learning_rate, milestones_of, mutation_bounds, mutation_ratio


def test_learning_rates_by_eye():
    """Constant stays, linear and cosine end at nothing, a warm-up rises to the base."""
    assert learning_rate("constant", 0.1, 0.7) == 0.1
    assert learning_rate("linear", 0.1, 0.75) == pytest.approx(0.025)
    assert learning_rate("cosine", 0.1, 0.5) == pytest.approx(0.05)
    assert learning_rate("cosine", 0.1, 1.0) == pytest.approx(0)
    assert learning_rate("cosine", 0.1, 0.05, warmup=0.1) == pytest.approx(0.05)
    assert learning_rate("cosine", 0.1, 0.1, warmup=0.1) == pytest.approx(0.1)
    assert learning_rate("linear", 0.1, 0.0, warmup=0.1) > 0


def test_a_rate_that_falls_in_steps_by_eye():
    """At its epochs, not between them; a warm-up comes before; no other kind falls by steps."""
    left = [fallen(epoch, (1, 3), 0.5) for epoch in range(5)]
    assert left == [1.0, 0.5, 0.5, 0.25, 0.25]
    assert [learning_rate("step", 0.1, epoch / 5, left=left[epoch]) for epoch in (0, 2, 4)] == [0.1, 0.05, 0.025]
    assert learning_rate("step", 0.1, 0.05, warmup=0.1) == pytest.approx(0.05)
    assert learning_rate("constant", 0.1, 0.9, left=0.25) == 0.1
    assert [milestones_of(epochs) for epochs in (160, 8, 2, 1)] == [(80, 120), (4, 6), (1, 2), (1,)]


def test_the_mutation_ratio_decays_as_published():
    """At epochs 90 and 120 of 160."""
    assert [mutation_ratio(epoch / 160) for epoch in (0, 89, 90, 119, 120, 160)] == [0.2, 0.2, 0.1, 0.1, 0, 0]


def test_em_prunes_below_and_ems_grows_past_the_target():
    """At 90 % the published bounds: 0.92-0.91-0.9 and 0.88-0.89-0.9."""
    targets = {"a": 0.9}
    for progress, low, high in ((0.1, 0.92, 0.88), (0.6, 0.91, 0.89), (0.9, 0.9, 0.9)):
        em, ems = mutation_bounds("em", targets, progress), mutation_bounds("ems", targets, progress)
        assert em.prune_to["a"] == pytest.approx(low)
        assert em.grow_to["a"] == 0.9
        assert ems.prune_to["a"] == 0.9
        assert ems.grow_to["a"] == pytest.approx(high)
    assert mutation_bounds("ems", targets, 0.9).at_target


def test_room_is_planned_for_the_densest_phase_to_come():
    """EM&S needs more until it decays; EM never does; no mutation needs none."""
    assert densest_sparsity("ems", {"a": 0.9})["a"] == pytest.approx(0.88)
    assert densest_sparsity("ems", {"a": 0.9}, 0.6)["a"] == pytest.approx(0.89)
    assert densest_sparsity("em", {"a": 0.9}) == {"a": 0.9}
    assert densest_sparsity("none", {"a": 0.9}) == {}


def test_forgetting_by_eye():
    """Sample 0 is never forgotten, 1 is forgotten once, 2 is never learned: only 0 is dropped."""
    forgetting = Forgetting(3)
    samples = np.arange(3)
    for correct in ([1, 1, 0], [1, 0, 0], [1, 1, 0]):
        forgetting.observe(samples, np.array(correct, bool))
    assert forgetting.drop_unforgotten(samples) == 1
    assert forgetting.kept(samples).tolist() == [1, 2]


def test_everything_is_never_dropped():
    """A set of easy samples alone stays whole."""
    forgetting = Forgetting(4)
    forgetting.observe(np.arange(4), np.ones(4, bool))
    assert forgetting.drop_unforgotten(np.arange(4)) == 0
    assert len(forgetting.kept(np.arange(4))) == 4


def test_a_permutation_is_a_permutation_and_a_function_of_its_key():
    """Each number once; another key, another order; no visible bias in the first place."""
    firsts = [int(chance.permutation(8, seed, 2)[0]) for seed in range(400)]
    assert sorted(chance.permutation(100, 1, 2).tolist()) == list(range(100))
    assert chance.permutation(100, 1, 2).tolist() != chance.permutation(100, 2, 1).tolist()
    assert max(firsts.count(k) for k in range(8)) < 90
    assert min(firsts.count(k) for k in range(8)) > 20


def test_random_numbers_do_not_depend_on_the_platform():
    """The published first outputs of SplitMix64 for seed 1234567."""
    assert chance.keys(1234567, 3).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_a_layer_near_dense_grows_to_dense_at_most() -> None:
    """EM&S at a target of 0.1 would grow past the whole layer: it stops at no zeros at all."""
    assert mutation_bounds("ems", {"w": 0.1}, 0.0).grow_to == {"w": 0.0}
    assert densest_sparsity("ems", {"w": 0.1}) == {"w": 0.0}
