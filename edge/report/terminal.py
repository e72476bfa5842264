"""The report of a run as text for a terminal: facts first, then memory, then time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap

from edge.report.facts import facts
from edge.report.moments import Timeline, timeline
from edge.report.numbers import bytes_text, change_text, limit_text, percent_text, reading_text, time_text
from edge.report.record import Profile, Reading, Record

WIDTH = 100
BAR_WIDTH = 24
MARKS = {True: "+", False: "!", None: " "}


def render(record: Record) -> str:
    """The whole report, about WIDTH columns wide at the most, without a final newline."""
    line = timeline(record.plan)
    parts = [f"{record.network} · {record.command} · {record.engine} engine ({record.engine_reason})", ""]
    for fact in facts(record):
        parts += _wrapped(f"{MARKS[fact.good]} {fact.question:<26} {fact.answer}. {fact.detail}", indent=29)
    parts += ["", *_kinds(line), "", *_phases(record)]
    if record.profile is not None:
        parts += ["", *_operators(record.profile)]
    return "\n".join(_plain(part) for part in parts)


def comparison(found: Mapping[str, Mapping[str, float | None]]) -> str:
    """The figures of two records and their differences, as `edge.report.comparison.differences` gives them."""
    writers = {"bytes": bytes_text, "median": time_text}
    rows: list[tuple[str, ...]] = [("", "first", "second", "difference")]
    for name, figure in found.items():
        write = writers.get(name.rsplit("_", 1)[-1], "{:.4g}".format)
        one, other = figure["first"], figure["second"]
        numbers = ("–" if value is None else write(value) for value in (one, other))
        rows.append((name.replace("_bytes", "").replace("_", " "), *numbers, change_text(one, other, write)))
    return "\n".join(table(rows, "<>>>"))


def _kinds(line: Timeline) -> list[str]:
    peak = line.peak_by_kind()
    rows = []
    for kind, nbytes in sorted(peak.items(), key=lambda pair: -pair[1]):
        share = nbytes / (line.peak_bytes or 1)
        rows.append((kind, bytes_text(nbytes), percent_text(share), "█" * round(share * BAR_WIDTH)))
    where = f"Planned peak {bytes_text(line.peak_bytes)} in {line.steps[line.peak_step]}, by kind"
    largest = [(item.name, bytes_text(item.nbytes), item.kind) for item in line.contributors[:5]]
    return [where, *table(rows, "<>><"), "", "Largest contributors", *table(largest, "<><")]


def _phases(record: Record) -> list[str]:
    """Planned beside measured, absolute and above the baseline, by phase and in all."""
    measured, plan = record.measured, record.plan
    baseline = measured.baseline_bytes
    rows = [("", "planned", "measured", "above baseline")]
    rows.append(("baseline", bytes_text(plan.baseline_bytes), bytes_text(baseline.value), ""))
    for name, reading in measured.phases.items():
        planned = bytes_text(plan.phases[name]) if name in plan.phases else "–"
        rows.append((name, planned, bytes_text(reading.value), above(reading, baseline)))
    peak = measured.peak_bytes
    rows.append(("whole process", bytes_text(plan.peak_bytes), bytes_text(peak.value), above(peak, baseline)))
    notes = [f"Arena {bytes_text(plan.arena_bytes)}; without reuse {bytes_text(plan.naive_bytes)}"]
    notes += [f"Plan: {note}" for note in plan.notes]
    notes.append(f"Limit: {limit_text(measured.limit)}. Allocator: {measured.allocator}")
    for name, reading in (("Peak", peak), ("Baseline", baseline), ("Swap", measured.swap_peak_bytes)):
        if reading.value is None or name == "Swap":
            notes.append(f"{name}: {reading_text(reading, bytes_text)}")
    wrapped = [line for note in notes for line in _wrapped(note, indent=2)]
    return ["Memory, resident in the whole process", *table(rows, "<>>>"), *wrapped]


def above(reading: Reading, baseline: Reading) -> str:
    """What a reading lies above the baseline, where both were measured."""
    if reading.value is None or baseline.value is None:
        return "–"
    return bytes_text(reading.value - baseline.value)


def _operators(profile: Profile) -> list[str]:
    head = f"A step takes {reading_text(profile.step_ms_median, time_text)} (median of {profile.steps})"
    if not profile.operators:
        return [head, *_wrapped(f"{profile.source}.", indent=0)]
    total = sum(cost.milliseconds for cost in profile.operators) or 1
    ranked = sorted(profile.operators, key=lambda cost: -cost.milliseconds)[:15]
    rows = [
        (cost.name, cost.op, cost.direction, time_text(cost.milliseconds), percent_text(cost.milliseconds / total))
        for cost in ranked
    ]
    rest = len(profile.operators) - len(ranked)
    tail = [f"… and {rest} more in record.json"] if rest > 0 else []
    return [head, "", f"Time by operator ({profile.source})", *table(rows, "<<<>>"), *tail]


def table(rows: Sequence[Sequence[str]], aligned: str) -> list[str]:
    """Rows as lines with columns of equal width, each aligned "<" or ">"."""
    widths = [max((len(row[index]) for row in rows), default=0) for index in range(len(aligned))]
    lines = []
    for row in rows:
        cells = [f"{cell:{side}{width}}" for cell, side, width in zip(row, aligned, widths, strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines


def _wrapped(text: str, indent: int) -> list[str]:
    """The text in lines of at most WIDTH, all but the first indented."""
    return wrap(text, WIDTH, subsequent_indent=" " * indent)


def _plain(text: str) -> str:
    """The text without control characters, so that a name from a file cannot steer the terminal."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
