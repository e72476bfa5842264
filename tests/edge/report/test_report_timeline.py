"""The peak of a step: streams of a few buffers whose sums a reader can add up."""

from __future__ import annotations

from dataclasses import replace

from report_example import MIB, PLAN

from edge.plan.footprint import Buffer, Item
from edge.report.moments import KINDS, timeline
from edge.report.record import Plan


def plan_of(*buffers: Buffer, steps: int = 4, baseline: int = 0, items: tuple[Item, ...] = ()) -> Plan:
    total = sum(buffer.nbytes for buffer in buffers)
    return Plan(baseline, 0, total, total, items, buffers, tuple(f"s{index}" for index in range(steps)))


def test_bytes_of_every_step_are_the_sums_of_what_is_alive() -> None:
    """Two buffers that overlap in one step add up there and nowhere else."""
    line = timeline(plan_of(Buffer("a", "workspace", 3, 0, 1), Buffer("b", "workspace", 5, 1, 2)))
    assert line.totals == (3, 8, 5, 0)
    assert (line.peak_step, line.peak_bytes) == (1, 8)
    assert [(item.name, item.nbytes) for item in line.contributors if item.nbytes] == [("b", 5), ("a", 3)]


def test_a_buffer_that_ends_where_another_begins_is_alive_in_that_step() -> None:
    """`last` is included, so handing over costs both."""
    line = timeline(plan_of(Buffer("a", "workspace", 4, 0, 2), Buffer("b", "saved activations", 4, 2, 3)))
    assert line.totals == (4, 4, 8, 4)


def test_of_equal_peaks_the_first_is_named() -> None:
    """A plateau is reported where it begins."""
    assert timeline(plan_of(Buffer("a", "workspace", 4, 1, 3))).peak_step == 1


def test_the_largest_buffer_need_not_be_part_of_the_peak() -> None:
    """The peak is a moment, and only what is alive then contributes."""
    line = timeline(
        plan_of(
            Buffer("big", "workspace", 10, 0, 0),
            Buffer("one", "workspace", 6, 2, 3),
            Buffer("two", "saved activations", 6, 1, 2),
        )
    )
    assert (line.peak_step, line.peak_bytes) == (2, 12)
    assert "big" not in {item.name for item in line.contributors}


def test_what_lies_outside_the_arena_is_there_in_every_step() -> None:
    """Baseline and items lift the whole line and come first among the contributors where they are largest."""
    line = timeline(plan_of(Buffer("a", "workspace", 1, 1, 1), baseline=100, items=(Item("weights", "w", 10),)))
    assert line.totals == (110, 111, 110, 110)
    assert [item.nbytes for item in line.contributors] == [100, 10, 1]
    assert line.peak_by_kind() == {"runtime": 100, "weights": 10, "workspace": 1}


def test_a_plan_without_steps_is_one_moment_with_everything_alive() -> None:
    """An engine that cannot tell its steps apart still shows its sum."""
    line = timeline(replace(PLAN, steps=()))
    assert line.totals == ((20 + 4 + 8 + 2 + 4) * MIB,)


def test_every_step_adds_up_over_its_kinds_and_never_exceeds_what_is_reserved() -> None:
    """Kinds are a partition of the bytes alive, and the arena bounds them."""
    line = timeline(PLAN)
    assert set(line.by_kind) <= set(KINDS)
    for step, total in enumerate(line.totals):
        assert sum(series[step] for series in line.by_kind.values()) == total <= line.reserved_bytes
    assert line.totals == tuple(n * MIB for n in (32, 34, 36, 24))


def test_a_kind_that_never_changes_can_be_left_out() -> None:
    """Without the runtime every moment is lower by it, and the peak stays where it is."""
    line = timeline(PLAN)
    rest = line.without("runtime")
    assert rest.totals == tuple(total - 20 * MIB for total in line.totals)
    assert rest.reserved_bytes == line.reserved_bytes - 20 * MIB
    assert rest.peak_step == line.peak_step
    assert "runtime" not in {item.kind for item in rest.contributors}
