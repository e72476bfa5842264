"""Exact counts: what a person types is what a layer keeps."""

from __future__ import annotations

from fractions import Fraction

import pytest

from mest.errors import InputError
from mest.sparse import Block, Channel, Irregular, Pattern, Phase
from mest.sparse.counts import kept_units, phase_counts
from mest.sparse.decimals import check_sparsity, exact


@pytest.mark.parametrize(
    ("sparsity", "weights", "kept"),
    [(0.9, 10, 1), (0.9, 9, 1), (0.7, 10, 3), (0.1, 10, 9), (0.3, 1000, 700), (0.99, 3, 1), (0, 7, 7), ("0.55", 20, 9)],
)
def test_irregular_keeps_the_exact_decimal(sparsity: float | str, weights: int, kept: int) -> None:
    """0.9 of 10 keeps 1, where binary arithmetic keeps 0, and no layer is ever emptied."""
    assert kept_units(Irregular(), (weights, 1), sparsity) == kept


def test_every_scheme_converts_weight_sparsity_once() -> None:
    """At 0.9 a 32×32×3×3 layer keeps 921 weights, 230 blocks, 230 kernels of 4 weights and 3 channels."""
    shape = (32, 32, 3, 3)
    kept = [kept_units(scheme, shape, 0.9) for scheme in (Irregular(), Block(), Pattern(), Channel())]
    assert kept == [921, 230, 230, 3]


@pytest.mark.parametrize("scheme", [Irregular(), Block(), Block(2), Pattern(), Channel()], ids=str)
@pytest.mark.parametrize("sparsity", [0.6, 0.73, 0.9, 0.95])
def test_kept_weights_never_exceed_the_target(scheme: Irregular, sparsity: float) -> None:
    """A layer holds at most (1−s) of its weights, and one more unit would be too many."""
    shape = (16, 24, 3, 3)
    kept, unit = kept_units(scheme, shape, sparsity), scheme.unit_weights(shape)
    allowed = (1 - exact(sparsity)) * 16 * 24 * 9
    assert kept * unit <= allowed < (kept + 1) * unit


def test_pattern_at_its_floor_keeps_every_kernel() -> None:
    """5/9 is four weights in each kernel; what a method grows past that is capped."""
    assert kept_units(Pattern(), (8, 8, 3, 3), Fraction(5, 9)) == 64
    assert kept_units(Pattern(), (8, 8, 3, 3), 0.4) == 64


def test_bounds_that_round_to_one_count_still_swap_a_unit() -> None:
    """32 channels keep 3 at 0.9 and swap one; the only one of 16 stays; a phase that does not mutate swaps none."""
    mutating, resting = Phase(0, exact(0.93), exact(0.9)), Phase(0, exact(0.9), exact(0.9))
    assert phase_counts(Channel(), (16, 16, 3, 3), mutating) == (1, 1)
    assert phase_counts(Channel(), (16, 32, 3, 3), Phase(0, exact(0.905), exact(0.9))) == (2, 3)
    assert phase_counts(Channel(), (16, 16, 3, 3), resting) == (1, 1)


@pytest.mark.parametrize("value", [1.0, -0.1, "1.2", float("nan"), "many"])
def test_what_is_no_sparsity_is_refused(value: float | str) -> None:
    """One line that says what is allowed."""
    with pytest.raises(InputError, match=r"such as 0\.9"):
        check_sparsity(value, "sparsity")
