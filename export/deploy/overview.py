"""Many boards on one page, side by side: planned and measured peak, time, accuracy before and after, version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edge.files.durable import replaced_text
from edge.report import html
from edge.report.charts import Bar, Segment, bars
from edge.report.facts import Fact
from edge.report.numbers import bytes_text, percent_text, points_text, time_text

PAGE = "boards.html"
_MOST_BARS = 40  # boards whose peaks are drawn; the table has all of them
_HEAD = ("Board", "Version", "Ended", "Planned peak", "Measured peak", "Budget", "Time", "A step", "Before", "After")


def write_overview(boards: Mapping[str, Mapping[str, Any]], folder: Path) -> Path:
    """Write the page of the boards of a deployment, by name, beside their results; give its path."""
    folder.mkdir(parents=True, exist_ok=True)
    with replaced_text(folder / PAGE) as file:
        file.write(render_overview(boards, folder))
    return folder / PAGE


def render_overview(boards: Mapping[str, Mapping[str, Any]], folder: Path) -> str:
    """The page as text; `folder` is where it will lie, with the reports of the boards below it."""
    kinds = sorted({str(board["machine"]) for board in boards.values() if board.get("machine")})
    lead = f"{_count(len(boards))}" + (f": {', '.join(kinds)}" if kinds else "")
    body = [html.cards(_facts(boards))]
    drawn = [name for name, board in boards.items() if _peaks(board) != (None, None)][:_MOST_BARS]
    if drawn:
        rows = [bar for name in drawn for bar in _bars(name, boards[name])]
        caption = "Resident memory of the whole process at its highest: planned on the board before, measured there."
        body.append(html.section("Memory", html.figure(partial(bars, rows, "Planned and measured peaks"), caption)))
    body.append(html.section("Side by side", html.table(_HEAD, map(_row, boards.values()), numbers=7)))
    wrong = [f"{name}: {said}" for name, board in boards.items() if (said := _wrong(board))]
    if wrong:
        body.append(html.section("What went wrong", *map(html.quote, wrong)))
    reports = [
        (name, quote(Path(board["report"]).relative_to(folder).as_posix()))
        for name, board in boards.items()
        if board.get("report")
    ]
    if reports:
        body.append(html.section("The report of each", html.links(reports)))
    foot = "Drawn from what the boards sent home. The page carries all it shows; it needs no network."
    return html.page("Boards side by side", lead, body, foot)


def _count(number: int) -> str:
    return f"{number} board{'' if number == 1 else 's'}"


def _facts(boards: Mapping[str, Mapping[str, Any]]) -> Iterator[Fact]:
    well = sum(board["exit_code"] == 0 for board in boards.values())
    waiting = sum(board["exit_code"] is None for board in boards.values())
    failed = len(boards) - well - waiting
    left = f"{failed} failed, {waiting} did not begin." if failed or waiting else "None failed."
    yield Fact("How many ended well?", f"{well} of {len(boards)}", left, well == len(boards))
    pairs = [(planned, measured) for planned, measured in map(_peaks, boards.values()) if planned and measured]
    if pairs:
        planned, measured = max(pairs, key=lambda pair: pair[1] / pair[0])
        detail = f"{bytes_text(measured)} of {bytes_text(planned)}, on the board that came nearest to its plan."
        yield Fact("Did the plans hold?", percent_text(measured / planned), detail, measured <= planned)
    gains = [
        board["result"]["accuracy_after"] - board["result"]["accuracy_before"]
        for board in boards.values()
        if _accuracies(board) is not None
    ]
    if gains:
        detail = f"{_count(len(gains))}, each on its own held-out samples; the least {points_text(min(gains))}."
        yield Fact("What was learned?", points_text(sum(gains) / len(gains)), f"The mean of {detail}", min(gains) >= 0)


def _peaks(board: Mapping[str, Any]) -> tuple[int | None, int | None]:
    plan, result = board.get("plan") or {}, board.get("result") or {}
    return result.get("planned_peak_bytes") or plan.get("planned_peak_bytes"), result.get("measured_peak_bytes")


def _accuracies(board: Mapping[str, Any]) -> tuple[float, float] | None:
    result = board.get("result") or {}
    before, after = result.get("accuracy_before"), result.get("accuracy_after")
    return None if before is None or after is None else (before, after)


def _bars(name: str, board: Mapping[str, Any]) -> Iterator[Bar]:
    for word, colour, peak in zip(("planned", "measured"), ("kind-2", "kind-1"), _peaks(board), strict=True):
        segments = () if peak is None else (Segment(peak, colour, f"{word}: {bytes_text(peak)}"),)
        yield Bar(f"{name}, {word}", segments, bytes_text(peak))


def _row(board: Mapping[str, Any]) -> tuple[str, ...]:
    result, ended = board.get("result") or {}, board.get("ended") or {}
    planned, measured = _peaks(board)
    before, after = _accuracies(board) or (None, None)
    budget, seconds, step = result.get("budget_bytes"), ended.get("seconds"), result.get("step_ms_median")
    code = board["exit_code"]
    return (
        str(board["board"]),
        str(board.get("active") or board.get("active_before") or "–"),
        "did not begin" if code is None else "well" if code == 0 else f"exit code {code}",
        "–" if planned is None else bytes_text(planned),
        "–" if measured is None else bytes_text(measured),
        "–" if budget is None else bytes_text(budget),
        "–" if seconds is None else time_text(1000 * seconds),
        "–" if step is None else time_text(step),
        "–" if before is None else percent_text(before),
        "–" if after is None else percent_text(after),
    )


def _wrong(board: Mapping[str, Any]) -> str | None:
    ended = board.get("ended") or {}
    if board.get("refused") or board.get("not_begun"):
        return str(board.get("refused") or board["not_begun"])
    return f"its run ended with exit code {ended['code']}" if ended.get("code") else None
