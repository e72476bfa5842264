"""What training and the board both count in units: kept, pruned, grown, stored."""

from __future__ import annotations

from fractions import Fraction
from math import prod

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="one of the twins is training, which needs PyTorch")

from edge.network import Parameter  # noqa: E402
from edge.run.rate import mutation_bounds, mutation_ratio  # noqa: E402
from edge.weight.formats import decode, encode_parameter, kept_mask  # noqa: E402
from edge.weight.units import kept_units, mutation_counts, unit_grid, unit_weights  # noqa: E402
from export.compress.formats import slots  # noqa: E402
from mest.sparse import Phase, em, ems, parse_scheme  # noqa: E402
from mest.sparse.counts import kept_units as trained_units  # noqa: E402
from mest.sparse.counts import phase_counts  # noqa: E402
from mest.sparse.decimals import exact  # noqa: E402
from mest.sparse.schemes.scheme import Scheme  # noqa: E402

Shape = tuple[int, ...]


@st.composite
def weights(draw: st.DrawFn) -> tuple[Scheme, Shape]:
    """A scheme that the board knows, and a layer that it can take."""
    name = draw(st.sampled_from(["irregular", "block", "block:2", "block:3", "pattern", "channel"]))
    scheme = parse_scheme(name)
    out, inputs = draw(st.integers(1, 12)) * getattr(scheme, "height", 1), draw(st.integers(1, 40))
    window = (3, 3) if name == "pattern" else draw(st.sampled_from([(), (1, 1), (3, 3), (5, 2)]))
    return scheme, (out, inputs, *window)


# As they are typed, and as the board computes them from a target.
typed = st.integers(0, 9999).map(lambda number: number / 10_000)
SPARSITIES = st.one_of(
    typed,
    st.tuples(typed, st.sampled_from([0.1, 0.2])).map(lambda each: each[0] + each[1] * (1 - each[0])),
    st.tuples(typed, st.sampled_from([0.1, 0.2])).map(lambda each: max(0.0, each[0] - each[1] * (1 - each[0]))),
)


def as_rational(sparsity: float) -> Fraction:
    """The decimal, or the exact number that binary arithmetic meant: all here have few digits."""
    return exact(round(sparsity, 9))


def parameter(scheme: Scheme, shape: Shape) -> Parameter:
    """An empty weight on the board."""
    values = np.zeros(0, np.float32)
    height = getattr(scheme, "height", None)
    return Parameter("w", shape, {"values": values}, trainable=True, scheme=scheme.name, height=height)


@given(layer=weights(), sparsity=SPARSITIES)
def test_both_keep_as_many_units_random(layer: tuple[Scheme, Shape], sparsity: float) -> None:
    """Of every scheme and shape, at what was typed and at what a mutation's share makes of it."""
    scheme, shape = layer
    board = parameter(scheme, shape)
    assert prod(unit_grid(board)) == scheme.units(shape)
    assert unit_weights(board) == scheme.unit_weights(shape)
    assert kept_units(board, sparsity) == trained_units(scheme, shape, as_rational(sparsity))


@given(layer=weights(), ends=st.tuples(typed, typed))
@example(layer=(parse_scheme("channel"), (4, 2)), ends=(0.5, 0.5))
def test_both_swap_as_many_units_random(layer: tuple[Scheme, Shape], ends: tuple[float, float]) -> None:
    """What a mutation leaves and what it grows to, the one unit that is swapped where both round alike included."""
    (scheme, shape), (grow_to, prune_to) = layer, sorted(ends)
    found = mutation_counts(parameter(scheme, shape), prune_to, grow_to)
    assert found == phase_counts(scheme, shape, Phase(0, exact(prune_to), exact(grow_to)))


@example(kind=em, target=0.0, sixteenths=1, layer=(parse_scheme("irregular"), (4, 5)))
@given(kind=st.sampled_from([em, ems]), target=typed, sixteenths=st.integers(1, 12), layer=weights())
def test_both_follow_one_schedule_random(kind: object, target: float, sixteenths: int, layer: tuple) -> None:
    """EM and EM&S at every epoch of a run whose length the published decay divides: equal counts."""
    (scheme, shape), epochs = layer, 16 * sixteenths
    schedule, board = kind(epochs, update_every_epochs=1), parameter(scheme, shape)
    for epoch in range(epochs):
        bounds = mutation_bounds(kind.__name__, {"w": target}, epoch / epochs)
        phase = schedule.phase(epoch, target)
        assert bounds.prune_to["w"] == pytest.approx(float(phase.prune_to), abs=1e-12)
        assert bounds.grow_to["w"] == pytest.approx(float(phase.grow_to), abs=1e-12)
        found = mutation_counts(board, bounds.prune_to["w"], bounds.grow_to["w"])
        assert found == phase_counts(scheme, shape, phase)


@given(epochs=st.integers(1, 400))
def test_phases_begin_within_an_epoch_of_each_other_random(epochs: int) -> None:
    """Training rounds the epoch at which a share falls; a board goes by progress and changes at most one epoch off."""
    starts = [phase.from_epoch for phase in em(epochs).phases(0.9)]
    ratios = [mutation_ratio(epoch / epochs) for epoch in range(epochs)]
    for start, ratio in zip(starts[1:], (0.1, 0.0), strict=True):
        begun = next((epoch for epoch, found in enumerate(ratios) if found <= ratio), epochs)
        assert abs(begun - start) <= 1


@given(layer=weights(), sparsity=typed, seed=st.integers(0, 2**32 - 1))
def test_a_trained_mask_has_the_same_numbers_on_the_board_random(
    layer: tuple[Scheme, Shape], sparsity: float, seed: int
) -> None:
    """Zeros, units and every weight: what training kept is what the compressed form says and holds."""
    scheme, shape = layer
    score = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) + 0.1
    count = trained_units(scheme, shape, sparsity)
    scores = scheme.unit_scores(score)
    units = scheme.keep(scores, torch.ones(scores.shape, dtype=torch.bool), count)
    mask = (scheme.expand(units, shape) & scheme.open(score)).numpy()
    weight = score.numpy() * mask
    written = encode_parameter(
        "w", weight, mask, scheme=scheme.name, height=getattr(scheme, "height", None), target_sparsity=sparsity
    )
    assert written.nonzeros == np.count_nonzero(mask) == count * scheme.unit_weights(shape)
    np.testing.assert_array_equal(kept_mask(written), mask)
    np.testing.assert_array_equal(decode(written), weight)
    if written.format in ("csr", "block", "pattern"):
        densest = mutation_bounds("ems", {"w": sparsity}, 0.0).grow_to["w"]
        assert slots(written, "ems") >= mutation_counts(written, sparsity, densest)[1]
        assert slots(written, "none") >= count
