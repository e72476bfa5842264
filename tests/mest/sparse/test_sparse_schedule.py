"""Schedules as lists of phases, from targets and from explicit bounds."""

from __future__ import annotations

from fractions import Fraction

import pytest

from mest.errors import InputError
from mest.sparse import em, ems, make_schedule, rigl, set_, static
from mest.sparse.methods import METHODS
from mest.sparse.schedule import Schedule


def listed(schedule: Schedule, target: float) -> list[tuple[int, float, float]]:
    return [(phase.from_epoch, float(phase.prune_to), float(phase.grow_to)) for phase in schedule.phases(target)]


def test_em_at_the_papers_target() -> None:
    """0.92-0.91-0.9 down, 0.9 up, decay at 90 and 120 of 160."""
    assert listed(em(), 0.9) == [(0, 0.92, 0.9), (90, 0.91, 0.9), (120, 0.9, 0.9)]


def test_ems_at_the_papers_target() -> None:
    """0.9 down, 0.88-0.89-0.9 up."""
    assert listed(ems(), 0.9) == [(0, 0.9, 0.88), (90, 0.9, 0.89), (120, 0.9, 0.9)]


def test_each_target_yields_its_own_phases() -> None:
    """t + 0.2(1−t), t + 0.1(1−t), t; exactly."""
    assert [phase.prune_to for phase in em().phases(0.8)] == [Fraction(84, 100), Fraction(82, 100), Fraction(8, 10)]


def test_decay_epochs_scale_unless_given() -> None:
    """Half the epochs, half the decay epochs; given ones stay."""
    assert [phase.from_epoch for phase in em(80).phases(0.9)] == [0, 45, 60]
    assert [phase.from_epoch for phase in em(80, decay_epochs="10-20").phases(0.9)] == [0, 10, 20]


def test_explicit_bounds_hold_for_every_layer() -> None:
    """The profile only selects: whatever a layer's own target, these are its phases."""
    schedule = em(lower_bound="0.92-0.91-0.9", upper_bound="0.9-0.9-0.9", decay_epochs="90-120")
    assert listed(schedule, 0.5) == listed(em(), 0.9)
    assert schedule.target(0.5) == Fraction(9, 10)


def test_one_bound_alone_ends_where_it_ends() -> None:
    """EM needs the lower bound only, EM&S the upper."""
    assert listed(em(lower_bound="0.92-0.91-0.9"), 0.9) == listed(em(), 0.9)
    assert listed(ems(upper_bound="0.88-0.89-0.9"), 0.9) == listed(ems(), 0.9)


def test_bounds_tell_the_method_where_none_is_named() -> None:
    """The published scripts name none."""
    assert make_schedule(None, lower_bound="0.92-0.91-0.9", upper_bound="0.9-0.9-0.9").method == "em"
    assert make_schedule(None, lower_bound="0.9-0.9-0.9", upper_bound="0.85-0.875-0.90").method == "ems"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lower_bound": "0.92-0.9", "upper_bound": "0.9-0.9-0.9"}, "has 2 phases and upper bound"),
        ({"lower_bound": "0.92-0.9"}, "makes 3 phases, but the bounds have 2"),
        ({"lower_bound": "0.92-0.91-0.9", "decay_epochs": "90"}, "makes 2 phases, but the bounds have 3; give 2"),
        ({"decay_epochs": "120-90"}, "must ascend"),
        ({"decay_epochs": "ninety"}, "whole numbers"),
        ({"lower_bound": "0.9-0.9-1.0"}, "less than 1"),
        ({"lower_bound": "0.9-x-0.9"}, "is not a number"),
        ({"lower_bound": "0.8-0.8-0.9", "upper_bound": "0.9-0.9-0.9"}, "must not be higher"),
        ({"lower_bound": "0.92-0.92-0.92", "upper_bound": "0.9-0.9-0.9"}, "end at 0.92 and 0.9"),
        ({"upper_bound": "0.88-0.89-0.9"}, "use method 'ems'"),
        ({"epochs": 0}, "epochs: 0 given"),
        ({"update_every_epochs": 0}, "between mutations: 0 given"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(options: dict[str, str], message: str) -> None:
    """Each says what was given and what is allowed."""
    with pytest.raises(InputError, match=message):
        make_schedule("em", **options)  # type: ignore[arg-type]


def test_only_em_and_ems_take_bounds() -> None:
    """And unknown methods list the known ones."""
    with pytest.raises(InputError, match="'set' has no lower bound"):
        make_schedule("set", lower_bound="0.92-0.91-0.9")
    with pytest.raises(InputError, match="known: em, ems, set, rigl, static, dense"):
        make_schedule("emu")


def test_mutation_falls_on_every_fifth_epoch_and_zero() -> None:
    """As published."""
    assert [epoch for epoch in range(17) if em().due(epoch)] == [0, 5, 10, 15]
    assert not em(10).due(10)


def test_baselines() -> None:
    """SET replaces three tenths always, RigL a share that falls to nothing at three quarters, static none."""
    assert listed(set_(), 0.9) == [(0, 0.93, 0.9)]
    prunes = [prune for _, prune, _ in listed(rigl(), 0.9)]
    assert prunes[0] == 0.93
    assert prunes == sorted(prunes, reverse=True)
    assert listed(rigl(), 0.9)[-1] == (120, 0.9, 0.9)
    assert listed(static(), 0.9) == [(0, 0.9, 0.9)]


def test_sparsity_in_force_lasts_until_the_next_mutation() -> None:
    """EM&S stays grown between mutations and is pruned back where a phase ends, on a fifth epoch or not."""
    schedule = ems(20, decay_epochs="7-12")
    in_force = [float(schedule.in_force(epoch, 0.9)) for epoch in range(20)]
    assert in_force == [0.88] * 7 + [0.89] * 5 + [0.9] * 8
    assert schedule.densest(0.9) == Fraction(88, 100)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 160])
def test_every_method_suits_every_length(method: str, epochs: int) -> None:
    """Phases ascend from 0 and the last ends at the target, for the shortest runs too."""
    phases = make_schedule(method, epochs).phases(0.9)
    starts = [phase.from_epoch for phase in phases]
    assert starts[0] == 0
    assert starts == sorted(starts)
    assert phases[-1].grow_to == Fraction(9, 10)
