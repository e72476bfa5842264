"""The arena: by eye, against the live bound, and by a checker that must find what a planner could get wrong."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from edge.plan.arena import ArenaError, check_arena, live_bound, plan_arena
from edge.plan.footprint import ArenaPlan, Buffer


def buffer(name: str, nbytes: int, first: int, last: int) -> Buffer:
    """A buffer of any kind."""
    return Buffer(name, "workspace", nbytes, first, last)


def test_a_chain_needs_two_buffers_at_a_time() -> None:
    """a → b → c → d, each read by the next step: a and c share, b and d share."""
    chain = [buffer("a", 64, 0, 1), buffer("b", 64, 1, 2), buffer("c", 64, 2, 3), buffer("d", 64, 3, 4)]
    plan = plan_arena(chain)
    check_arena(chain, plan)
    assert plan.nbytes == 128
    assert plan.naive_bytes == 256
    assert plan.peak_step == 1
    a, b, c, d = plan.offsets
    assert a == c != b == d


def test_a_gap_between_long_lived_ones_is_used() -> None:
    """Two that live throughout, one large that ends early: both small ones move into its place."""
    given = [
        buffer("always", 128, 0, 9),
        buffer("large", 256, 0, 3),
        buffer("also", 64, 0, 9),
        buffer("small", 128, 4, 9),
        buffer("other", 128, 4, 6),
    ]
    plan = plan_arena(given)
    check_arena(given, plan)
    assert plan.nbytes == live_bound(given) == 448


def test_nothing_and_empty_buffers_need_nothing() -> None:
    """No buffers, or buffers without bytes."""
    assert plan_arena([]) == ArenaPlan(0, 0, 0, ())
    empty = [buffer("a", 0, 0, 3), buffer("b", 0, 2, 2)]
    plan = plan_arena(empty)
    check_arena(empty, plan)
    assert plan.nbytes == 0


def test_sizes_are_rounded_to_the_alignment() -> None:
    """65 bytes take 128, and every offset is a multiple of 64."""
    given = [buffer("a", 65, 0, 1), buffer("b", 1, 0, 1), buffer("c", 1, 1, 1)]
    plan = plan_arena(given)
    check_arena(given, plan)
    assert plan.nbytes == 256
    assert all(offset % 64 == 0 for offset in plan.offsets)


def random_buffers(rng: random.Random) -> list[Buffer]:
    """Lifetimes like those of a training step: short ones, and saved ones that nest."""
    count, steps = rng.randint(1, 60), rng.randint(1, 40)
    found = []
    for number in range(count):
        first = rng.randrange(steps)
        last = steps - first if rng.random() < 0.4 and steps - first >= first else min(steps, first + rng.randint(0, 3))
        found.append(buffer(str(number), rng.choice([0, 1, 64, 100, 4096, rng.randint(1, 10_000)]), first, last))
    return found


def test_random_lifetimes_never_share_bytes() -> None:
    """Every plan passes the checker and lies between the live bound and no reuse; most come close to the bound."""
    rng = random.Random(5)
    ratios = []
    for _ in range(300):
        given = random_buffers(rng)
        plan = plan_arena(given)
        check_arena(given, plan)
        bound = live_bound(given)
        assert bound <= plan.nbytes <= plan.naive_bytes
        ratios.append(plan.nbytes / bound if bound else 1.0)
    assert sum(ratios) / len(ratios) < 1.03


def test_the_checker_finds_every_move_that_makes_two_share() -> None:
    """One buffer is moved by 64 bytes: the checker agrees with a comparison of all pairs, byte for byte."""
    rng = random.Random(6)
    outcomes = set()
    for _ in range(200):
        given = random_buffers(rng)
        plan = plan_arena(given)
        moved = rng.randrange(len(given))
        offsets = list(plan.offsets)
        offsets[moved] = max(0, offsets[moved] + rng.choice([-64, 64]))
        wrong = replace(plan, nbytes=plan.nbytes + 64, offsets=tuple(offsets))
        shares = any(
            a.first <= b.last and b.first <= a.last and max(at, other) < min(at + a.nbytes, other + b.nbytes)
            for (a, at), (b, other) in itertools.combinations(zip(given, offsets, strict=True), 2)
            if a.nbytes and b.nbytes
        )
        outcomes.add(shares)
        if shares:
            with pytest.raises(ArenaError, match="share bytes"):
                check_arena(given, wrong)
        else:
            check_arena(given, wrong)
    assert outcomes == {True, False}


def test_the_checker_finds_what_lies_outside_or_is_missing() -> None:
    """Beyond the end, not aligned, not placed."""
    given = [buffer("a", 64, 0, 1)]
    for offsets, nbytes, words in [((64,), 64, "within"), ((1,), 128, "within"), ((), 64, "exactly")]:
        with pytest.raises(ArenaError, match=words):
            check_arena(given, ArenaPlan(nbytes, 64, 0, offsets))


def test_equal_names_are_two_buffers() -> None:
    """A name is a label: buffers are told apart by their place in the list."""
    given = [buffer("a", 64, 0, 1), buffer("a", 128, 1, 2)]
    plan = plan_arena(given)
    check_arena(given, plan)
    assert plan.nbytes == 192
    with pytest.raises(ArenaError, match="a and a share bytes"):
        check_arena(given, replace(plan, offsets=(0, 0)))


def test_impossible_buffers_are_refused() -> None:
    """An end before the beginning, a negative size."""
    for given in ([buffer("a", 1, 2, 1)], [buffer("a", -1, 0, 0)]):
        with pytest.raises(ArenaError, match="cannot plan"):
            plan_arena(given)
