"""Two records on one page: what changed between two runs, in memory, time, choices and result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from edge.report import html
from edge.report.charts import Bar, Segment, bars, memory_over_step
from edge.report.facts import Fact
from edge.report.moments import Timeline, timeline
from edge.report.numbers import bytes_text, change_text, percent_text, points_text, score_writer, time_text
from edge.report.page import date_text
from edge.report.record import Record

PAGE = "comparison.html"
NAMES = ("First", "Second")
MOST_ROWS = 20
NOTHING = "–"
Write = Callable[[float], str]


def render_comparison(first: Record, second: Record) -> str:
    """The page of two records; every difference is the second's number less the first's."""
    pair = (first, second)
    lead = "; ".join(
        f"{name.lower()}: {one.command} of {one.network}, {one.engine} engine, {date_text(one.created)}"
        for name, one in zip(NAMES, pair, strict=True)
    )
    body = [html.cards(_facts(first, second)), _memory(*pair), _kinds(*pair), _tensors(*pair)]
    body += [part for part in (_times(*pair), _choices(*pair)) if part]
    foot = "Drawn from two record.json files. The page carries all it shows; it needs no network."
    return html.page("Two runs side by side", f"{lead[0].upper()}{lead[1:]}.", body, foot)


def differences(first: Record, second: Record) -> dict[str, dict[str, float | None]]:
    """The figures that are compared first, by name: `first`, `second` and `difference`, None where not measured."""
    found: dict[str, dict[str, float | None]] = {}
    for (name, one), other in zip(_figures(first).items(), _figures(second).values(), strict=True):
        change = None if one is None or other is None else other - one
        found[name] = {"first": one, "second": other, "difference": change}
    return found


def _figures(record: Record) -> dict[str, float | None]:
    training, profile = record.training, record.profile
    timed = profile.step_ms_median if profile is not None else training.step_ms_median if training is not None else None
    return {
        "planned_peak_bytes": record.plan.peak_bytes,
        "measured_peak_bytes": record.measured.peak_bytes.value,
        "arena_bytes": record.plan.arena_bytes,
        "step_ms_median": timed.value if timed is not None else None,
        "accuracy_after": training.accuracy_after.value if training is not None else None,
    }


def _facts(first: Record, second: Record) -> Iterator[Fact]:
    found = differences(first, second)
    asked: list[tuple[str, str, Write]] = [
        ("What became of the measured peak?", "measured_peak_bytes", bytes_text),
        ("And of the planned peak?", "planned_peak_bytes", bytes_text),
        ("How long does a step take?", "step_ms_median", time_text),
    ]
    for question, name, write in asked:
        one, other = found[name]["first"], found[name]["second"]
        detail = f"First {_written(one, write)}, second {_written(other, write)}"
        share = f": {percent_text(abs(other / one - 1))} {'more' if other > one else 'less'}." if one and other else "."
        better = None if one is None or other is None or one == other else other < one
        yield Fact(question, change_text(one, other, write), detail + share, better)
    if first.training is not None and second.training is not None and first.training.task == second.training.task:
        metric = second.training.metric
        one, other = found["accuracy_after"]["first"], found["accuracy_after"]["second"]
        if one is not None and other is not None:
            write = score_writer(metric)
            by = points_text(other - one) if metric.is_share else change_text(one, other, write)
            detail = f"First {write(one)}, second {write(other)}, on the samples that each run held out."
            better = None if one == other else metric.better(other, one)
            yield Fact(f"What became of the {metric.label}?", by, detail, better)


def _written(value: float | None, write: Write) -> str:
    return "not measured" if value is None else write(value)


def _memory(first: Record, second: Record) -> str:
    lines = [timeline(record.plan).without("runtime") for record in (first, second)]
    highest = max(line.reserved_bytes for line in lines)
    pictures = [
        html.figure(
            partial(memory_over_step, line, f"{name} run: memory over one training step", highest_bytes=highest),
            f"{name} run: {bytes_text(line.peak_bytes)} at the planned peak, without the interpreter. "
            "Both pictures have the same scale.",
        )
        for name, line in zip(NAMES, lines, strict=True)
    ]
    return html.section("Memory over a step", *pictures)


def _kinds(first: Record, second: Record) -> str:
    one, other = timeline(first.plan).peak_by_kind(), timeline(second.plan).peak_by_kind()
    rows = _rows(one, other, bytes_text)
    phases = [
        {name: float(reading.value) for name, reading in record.measured.phases.items() if reading.value is not None}
        for record in (first, second)
    ]
    measured = _rows(phases[0], phases[1], bytes_text)
    tables = [html.table(("Kind", *NAMES, "Difference"), rows, "At the planned peak, by kind", numbers=3)]
    if measured:
        caption = "Measured: resident memory of the whole process at its highest, by phase"
        tables.append(html.table(("Phase", *NAMES, "Difference"), measured, caption, numbers=3))
    return html.section("Where the memory went", *tables)


def _tensors(first: Record, second: Record) -> str:
    one, other = (_largest_by_name(timeline(record.plan)) for record in (first, second))
    rows = _rows(one, other, bytes_text, changed=True)
    if not rows:
        return html.section("What changed at the peak", html.paragraph("The same tensors, of the same sizes."))
    more = f" Only the {MOST_ROWS} largest changes are listed." if len(rows) > MOST_ROWS else ""
    said = "What is alive at the planned peak of one run and not, or not as large, at that of the other."
    return html.section(
        "What changed at the peak",
        html.paragraph(said + more),
        html.table(("Tensor", *NAMES, "Difference"), rows[:MOST_ROWS], numbers=3),
    )


def _largest_by_name(line: Timeline) -> dict[str, float]:
    found: dict[str, float] = {}
    for item in line.contributors:
        found[f"{item.name} ({item.kind})"] = found.get(f"{item.name} ({item.kind})", 0) + item.nbytes
    return found


def _times(first: Record, second: Record) -> str:
    if first.profile is None or second.profile is None or not (first.profile.operators and second.profile.operators):
        return ""
    totals: list[dict[str, float]] = [{}, {}]
    for sums, profile in zip(totals, (first.profile, second.profile), strict=True):
        for cost in profile.operators:
            sums[cost.name] = sums.get(cost.name, 0.0) + cost.milliseconds
    ranked = sorted(totals[0].keys() | totals[1].keys(), key=lambda name: (-abs(_change(totals, name)), name))
    drawn = [bar for name in ranked[:6] for bar in _bars(name, totals)]
    rows = _rows(totals[0], totals[1], time_text)
    return html.section(
        "Where the time went",
        html.paragraph("Forward and backward together, as each run measured them; the largest changes first."),
        html.figure(partial(bars, drawn, "Time of the operators that changed most"), "Blue is first, orange second."),
        html.details(f"All {len(rows)} operators", html.table(("Operator", *NAMES, "Difference"), rows, numbers=3)),
    )


def _change(totals: list[dict[str, float]], name: str) -> float:
    return totals[1].get(name, 0.0) - totals[0].get(name, 0.0)


def _bars(name: str, totals: list[dict[str, float]]) -> Iterator[Bar]:
    for word, colour, sums in zip(NAMES, ("kind-1", "kind-8"), totals, strict=True):
        taken = sums.get(name)
        pieces = () if taken is None else (Segment(taken, colour, time_text(taken)),)
        yield Bar(f"{name}, {word.lower()}", pieces, NOTHING if taken is None else time_text(taken))


def _rows(
    one: Mapping[str, float], other: Mapping[str, float], write: Write, changed: bool = False
) -> list[tuple[str, ...]]:
    """Name, both numbers and their difference, the largest change first; with `changed` only what differs."""
    names = sorted(one.keys() | other.keys(), key=lambda name: (-abs(other.get(name, 0) - one.get(name, 0)), name))
    return [
        (
            name,
            write(one[name]) if name in one else NOTHING,
            write(other[name]) if name in other else NOTHING,
            change_text(one.get(name, 0), other.get(name, 0), write),
        )
        for name in names
        if not changed or one.get(name) != other.get(name)
    ]


def _choices(first: Record, second: Record) -> str:
    """What the two runs chose differently, their machines and versions included."""
    pair = [
        dict(html.listing({"engine": one.engine, "budget_bytes": one.budget_bytes, **one.choices, **_machine(one)}))
        for one in (first, second)
    ]
    rows = [
        (name, pair[0].get(name, NOTHING), pair[1].get(name, NOTHING))
        for name in dict.fromkeys((*pair[0], *pair[1]))
        if pair[0].get(name) != pair[1].get(name)
    ]
    if not rows:
        return html.section("What was chosen differently", html.paragraph("Nothing: choices, machine, versions."))
    return html.section("What was chosen differently", html.table(("", *NAMES), rows))


def _machine(record: Record) -> dict[str, Any]:
    named = ("architecture", "model", "cpu", "cores", "kernel", "libc", "allocator")
    return {**{name: record.board[name] for name in named if name in record.board}, "versions": dict(record.versions)}
