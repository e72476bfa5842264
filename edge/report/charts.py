"""The charts of a report: memory over a step, bars, curves. Each is drawn for a width, as a phone's differs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.report.moments import KINDS, Timeline
from edge.report.numbers import MIB, bytes_text, percent_text
from edge.report.svg import Drawing, escape, label, shorten, tag, ticks

WIDE, NARROW = 720, 350
CHARACTER = 6.6  # mean width of a character at 12 px, in px
KIND_CLASS = {kind: f"kind-{index}" for index, kind in enumerate(KINDS)}


@dataclass(frozen=True)
class Segment:
    """A piece of a bar: its length in the chart's unit, its colour class, what it stands for."""

    value: float
    class_: str
    meaning: str


@dataclass(frozen=True)
class Bar:
    """A bar of segments with its label above and its total in words."""

    name: str
    segments: tuple[Segment, ...]
    total: str


@dataclass(frozen=True)
class Series:
    """A named curve of (x, y) points in ascending x; dots alone where nothing is known between them."""

    name: str
    points: tuple[tuple[float, float], ...]
    joined: bool = True


@dataclass(frozen=True)
class Frame:
    """The rectangle of a plot and the values its edges stand for."""

    left: float
    top: float
    right: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        """The column of a value."""
        low, high = self.x_range
        return self.left + (value - low) / ((high - low) or 1) * (self.right - self.left)

    def y(self, value: float) -> float:
        """The row of a value."""
        low, high = self.y_range
        return self.bottom - (value - low) / ((high - low) or 1) * (self.bottom - self.top)


def memory_over_step(line: Timeline, title: str, width: int = WIDE, highest_bytes: int = 0) -> Drawing:
    """Bytes by kind over one training step, stacked; the peak is marked and its contributors are named.

    The scale reaches `highest_bytes` at least, so that several pictures may have the same.
    """
    levels = ticks(0, max(line.reserved_bytes, highest_bytes) / MIB, 5)
    frame = Frame(46, 34, width - 8, 274, (0, len(line.steps)), (0, levels[-1]))
    parts = [_grid(frame, levels, lambda level: f"{level:g}"), label("MiB", 40, 18, "soft", "end")]
    parts += kind_areas(line, frame, MIB)
    reserved = frame.y(line.reserved_bytes / MIB)
    parts.append(tag("path", d=f"M{frame.left:.1f} {reserved:.1f}H{frame.right:.1f}", class_="mark dash"))
    x = frame.x(line.peak_step + 0.5)
    parts.append(tag("path", d=f"M{x:.1f} {reserved:.1f}V{frame.bottom:.1f}", class_="mark"))
    step = shorten(line.steps[line.peak_step], 24 if width < WIDE else 44)
    anchor = "start" if x < frame.left + (frame.right - frame.left) * 0.4 else "end"
    if anchor == "end" and x - frame.left < width * 0.6:
        x, anchor = frame.left + (frame.right - frame.left) / 2, "middle"
    parts.append(label(f"peak {bytes_text(line.peak_bytes)} in {step}", x, reserved - 8, "mark strong halo", anchor))
    parts.append(label("start of the step", frame.left, 292, "soft"))
    parts.append(label("end", frame.right, 292, "soft", "end"))
    legend, bottom = _legend(line, width, 316)
    top = ", ".join(f"{item.name} {bytes_text(item.nbytes)}" for item in line.contributors[:5])
    description = f"Peak {bytes_text(line.peak_bytes)} in {line.steps[line.peak_step]}. Largest: {top}."
    return Drawing(width, bottom, title, description, "".join(parts) + legend)


def kind_areas(line: Timeline, frame: Frame, unit: float) -> list[str]:
    """One area per kind, each standing on the sum of those below; the frame counts in units of so many bytes."""
    parts, floor = [], [0] * len(line.steps)
    for kind, series in line.by_kind.items():
        ceiling = [low + more for low, more in zip(floor, series, strict=True)]
        up = "".join(_tread(frame, index, value / unit) for index, value in enumerate(ceiling))
        down = "".join(_tread(frame, index, floor[index] / unit, back=True) for index in reversed(range(len(floor))))
        hover = tag("title", escape(f"{kind}: up to {bytes_text(max(series))}"))
        parts.append(tag("path", hover, d="M" + (up + down)[1:] + "Z", class_=KIND_CLASS[kind]))
        floor = ceiling
    return parts


def _tread(frame: Frame, index: int, value: float, back: bool = False) -> str:
    """The level piece of a staircase over one step."""
    start, end, y = frame.x(index), frame.x(index + 1), frame.y(value)
    if back:
        start, end = end, start
    return f"L{start:.1f} {y:.1f}L{end:.1f} {y:.1f}"


def _legend(line: Timeline, width: int, top: int) -> tuple[str, int]:
    """Kinds with their bytes at the peak, and the largest single tensors, beside or below each other."""
    kinds = sorted(line.peak_by_kind().items(), key=lambda pair: -pair[1])
    parts = [label("At the peak, by kind", 8, top, "strong")]
    column = 300 if width >= WIDE else width - 16
    for row, (kind, nbytes) in enumerate(kinds, 1):
        y = top + 19 * row
        parts.append(tag("rect", x=8, y=y - 10, width=12, height=12, rx=2, class_=KIND_CLASS[kind]))
        parts.append(label(kind, 28, y))
        parts.append(label(bytes_text(nbytes), column, y, anchor="end"))
    bottom = top + 19 * len(kinds)
    left, start = (column + 44, top) if width >= WIDE else (8, bottom + 30)
    parts.append(label("Largest contributors", left, start, "strong"))
    room = int((width - 8 - left - 95) / CHARACTER)
    for row, item in enumerate(line.contributors[:6], 1):
        y = start + 19 * row
        parts.append(tag("rect", x=left, y=y - 10, width=12, height=12, rx=2, class_=KIND_CLASS[item.kind]))
        parts.append(label(shorten(item.name, room), left + 20, y))
        parts.append(label(bytes_text(item.nbytes), width - 8, y, anchor="end"))
        bottom = max(bottom, y)
    return "".join(parts), bottom + 12


def bars(rows: Sequence[Bar], title: str, width: int = WIDE) -> Drawing:
    """Horizontal bars on one scale from zero, each with its name above and its total at the right."""
    longest = max((sum(segment.value for segment in row.segments) for row in rows), default=0) or 1
    room = width - 16
    parts = []
    for index, row in enumerate(rows):
        top = 8 + index * 40
        parts.append(label(shorten(row.name, int((room - 120) / CHARACTER)), 8, top + 11))
        parts.append(label(row.total, width - 8, top + 11, "strong", "end"))
        parts.append(tag("rect", x=8, y=top + 17, width=room, height=13, rx=3, class_="track"))
        x = 8.0
        for segment in row.segments:
            length = max(0.0, segment.value) / longest * room
            hover = tag("title", escape(segment.meaning))
            parts.append(tag("rect", hover, x=x, y=top + 17, width=length, height=13, class_=segment.class_))
            x += length
    description = "; ".join(f"{row.name}: {row.total}" for row in rows)
    return Drawing(width, 8 + 40 * len(rows), title, description, "".join(parts))


def curves(
    series: Sequence[Series],
    title: str,
    x_name: str,
    write: Callable[[float], str],
    width: int = WIDE,
    from_zero: bool = False,
) -> Drawing:
    """Up to three curves over common axes; `write` says a y value in words. A single point is drawn as a dot."""
    points = [point for one in series for point in one.points]
    if not points:
        raise ValueError("a chart of curves needs at least one point")
    xs, ys = [x for x, _ in points], [y for _, y in points]
    levels = ticks(0 if from_zero else min(ys), max(ys), 4)
    frame = Frame(56, 40, width - 14, 220, (min(xs), max(xs)), (levels[0], levels[-1]))
    parts = [_grid(frame, levels, write)]
    marks = [x for x in ticks(min(xs), max(xs), 4 if width < WIDE else 8) if min(xs) <= x <= max(xs)]
    parts += [label(f"{x:g}", frame.x(x), 238, "soft", "middle") for x in marks if len(xs) > 1]
    parts.append(label(x_name, (frame.left + frame.right) / 2, 256, "soft", "middle"))
    at = frame.left
    for index, one in enumerate(series[:3]):
        path = "".join(
            f"{'L' if place else 'M'}{frame.x(x):.1f} {frame.y(y):.1f}" for place, (x, y) in enumerate(one.points)
        )
        if one.joined:
            parts.append(tag("path", d=path, class_=f"line{index}", stroke_linejoin="round"))
        for x, y in one.points if len(one.points) <= 40 else one.points[-1:]:
            parts.append(tag("circle", cx=frame.x(x), cy=frame.y(y), r=3, class_=f"dot{index}"))
        parts.append(tag("path", d=f"M{at:.1f} 18h18", class_=f"line{index}"))
        name = f"{one.name}: {write(one.points[-1][1])}" if one.points else one.name
        parts.append(label(name, at + 24, 22))
        at += 24 + len(name) * CHARACTER + 18
    description = "; ".join(
        f"{one.name} from {write(one.points[0][1])} to {write(one.points[-1][1])}" for one in series if one.points
    )
    return Drawing(width, 264, title, description, "".join(parts))


def signals(channels: Sequence[Sequence[float]], title: str) -> Drawing:
    """A window of samples, a small curve for each channel, one below the other, each on a scale of its own."""
    width, row = 120, 20
    parts = []
    for place, values in enumerate(channels):
        low, high = min(values), max(values)
        frame = Frame(3, place * row + 3, width - 3, (place + 1) * row - 1, (0, len(values) - 1), (low, high))
        path = "".join(f"{'L' if at else 'M'}{frame.x(at):.1f} {frame.y(value):.1f}" for at, value in enumerate(values))
        parts.append(tag("path", d=path, class_=f"line{place % 3}", style="stroke-width:1"))
    return Drawing(width, row * len(channels) + 2, title, f"{len(channels)} channels over time", "".join(parts))


def share_axis(value: float) -> str:
    """A share on an axis: "90.0 %" without a superfluous zero."""
    return percent_text(value).replace(".0 %", " %")


def _grid(frame: Frame, levels: Sequence[float], write: Callable[[float], str]) -> str:
    parts = []
    for level in levels:
        y = frame.y(level)
        parts.append(tag("path", d=f"M{frame.left:.1f} {y:.1f}H{frame.right:.1f}", class_="grid"))
        parts.append(label(write(level), frame.left - 6, y + 4, "soft", "end"))
    return "".join(parts)
