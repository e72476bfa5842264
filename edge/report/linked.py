"""Three views of a training step over one axis: the kinds of memory, the arena by address, and the operators.

A moment that is chosen in one view is marked in all of them, and a tensor says who reads it next and why it lives so
long: with the pointer, or with the arrow keys. Without the page's script the pictures and the table remain.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from edge.report import html
from edge.report.charts import NARROW, WIDE, Frame, kind_areas
from edge.report.moments import KINDS, Timeline, timeline
from edge.report.numbers import bytes_text, time_text
from edge.report.palette import DIRECTION_CLASS, DIRECTION_COLOURS
from edge.report.record import Record
from edge.report.steps import Course, course
from edge.report.svg import Drawing, label, tag
from edge.report.tensors import PLACED_AGAIN, Tensor, arena_bytes, summary, tensors, why

LEFT, ROWS_SHOWN = 46, 200
HINT = (
    "Point at a moment or a tensor. With the keyboard: left and right go through the steps, up and down through the "
    "tensors that live then, Escape leaves."
)


@cache
def script() -> str:
    """What links the views in a browser."""
    return Path(__file__).with_name("linked.js").read_text(encoding="utf-8")


def linked_views(record: Record) -> str:
    """The section of a page with the three views, what is said of a moment, and the tensors as a table."""
    run, placed, line = course(record), tensors(record.plan), timeline(record.plan).without("runtime")
    if not placed:
        return ""
    size = arena_bytes(record.plan, placed)
    pictures = "".join(
        f'<div class="{name}">{_draw(width, line, run, placed, size).inline()}</div>'
        for name, width in (("wide", WIDE), ("narrow", NARROW))
    )
    facts = html.data(
        {
            "frames": {width: (LEFT, width - 8) for width in (WIDE, NARROW)},
            "steps": [{"name": step.name, "text": _said(run, line, place)} for place, step in enumerate(run.steps)],
            "tensors": [
                {
                    "text": summary(tensor),
                    "why": why(tensor, run.steps),
                    "first": tensor.first,
                    "last": tensor.last,
                    "offset": tensor.offset,
                    "uses": tensor.uses,
                }
                for tensor in placed
            ],
        }
    )
    times = "times as measured" if run.timed else "not timed, so all are of one height"
    again = "" if record.plan.offsets else f" Here {PLACED_AGAIN}."
    caption = (
        f"From left to right the {len(run.steps)} steps. Above, what is held outside and inside the arena, by kind; in "
        f"the middle the arena of {bytes_text(size)}, where each rectangle is a tensor at its address; below, the "
        f"operators ({times}). {DIRECTION_COLOURS}{again}"
    )
    return html.section(
        "A step, moment by moment",
        '<figure><div class="linked" tabindex="0" role="group" aria-label="A training step, moment by moment">'
        f'{pictures}<output aria-live="polite">{html.escape(HINT)}</output>{facts}</div>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>",
        _table(placed, run),
    )


def _said(run: Course, line: Timeline, place: int) -> str:
    step = run.steps[place]
    taken = f", {time_text(step.milliseconds)}" if run.timed else ""
    return f"{step.name} ({step.direction}{taken}); {bytes_text(line.totals[place])} held"


def _draw(width: int, line: Timeline, run: Course, placed: tuple[Tensor, ...], size: int) -> Drawing:
    right, count = width - 8, len(run.steps)
    held = Frame(LEFT, 24, right, 144, (0, count), (0, max(line.totals) or 1))
    arena = Frame(LEFT, 176, right, 416, (0, count), (0, size))
    longest = max(step.milliseconds for step in run.steps) or 1.0
    times = Frame(LEFT, 448, right, 508, (0, count), (0, longest))
    parts = [
        label("Held, by kind", LEFT, 14, "strong"),
        label(bytes_text(max(line.totals)), right, 14, "soft", "end"),
        *kind_areas(line, held, 1),
        label("The arena, by address", LEFT, 166, "strong"),
        label(bytes_text(size), right, 166, "soft", "end"),
        tag("rect", x=LEFT, y=arena.top, width=right - LEFT, height=arena.bottom - arena.top, class_="track"),
        *(_tile(arena, number, tensor) for number, tensor in enumerate(placed)),
        label("Operators", LEFT, 438, "strong"),
        label(time_text(longest) if run.timed else "not timed", right, 438, "soft", "end"),
    ]
    for place, step in enumerate(run.steps):
        x, y = times.x(place), times.y(step.milliseconds)
        shape = {"x": x, "y": y, "width": max(times.x(place + 1) - x - 0.4, 0.4), "height": max(times.bottom - y, 1.0)}
        parts.append(tag("rect", class_=DIRECTION_CLASS.get(step.direction, "kind-0"), data_step=place, **shape))
    parts.append(tag("path", d=f"M0 {held.top}V{times.bottom}", class_="cursor", style="display:none"))
    largest = max(placed, key=lambda tensor: tensor.nbytes)
    description = (
        f"{count} steps, {len(placed)} tensors in an arena of {bytes_text(size)}. The largest is {summary(largest)}. "
        "The table below lists them."
    )
    title = "A training step: memory by kind, the arena by address, operators"
    return Drawing(width, 516, title, description, "".join(parts))


def _tile(frame: Frame, number: int, tensor: Tensor) -> str:
    x, top = frame.x(tensor.first), frame.y(tensor.offset + tensor.nbytes)
    return tag(
        "rect",
        x=x,
        y=top,
        width=frame.x(tensor.last + 1) - x,
        height=max(frame.y(tensor.offset) - top, 0.5),
        class_=f"tile kind-{list(KINDS).index(tensor.kind)}",
        data_tensor=number,
    )


def _table(placed: tuple[Tensor, ...], run: Course) -> str:
    ranked = sorted(placed, key=lambda tensor: -tensor.nbytes)[:ROWS_SHOWN]
    rows = [
        (tensor.name, tensor.kind, why(tensor, run.steps), f"{tensor.offset:,}", bytes_text(tensor.nbytes))
        for tensor in ranked
    ]
    more = f", the {ROWS_SHOWN} largest" if len(placed) > ROWS_SHOWN else ""
    return html.details(
        f"All {len(placed)} tensors of the arena{more}",
        html.table(("Tensor", "Kind", "Who uses it, and why it lives so long", "Offset", "Size"), rows, numbers=2),
    )
