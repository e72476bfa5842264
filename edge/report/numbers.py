"""Numbers as a person reads them; a `Reading` without a value is spelled out with its reason."""

from __future__ import annotations

from collections.abc import Callable

from edge.report.record import Limit, Reading
from edge.tasks.metric import Metric

MIB = 1024 * 1024
NO_VALUE = "not measured"


def bytes_text(nbytes: float | None) -> str:
    """Bytes as "46.2 MiB", "812 KiB" or "96 B"; "not measured" for None."""
    if nbytes is None:
        return NO_VALUE
    sign, size = ("−" if nbytes < 0 else ""), abs(nbytes)
    if size >= 1000 * MIB:
        return f"{sign}{size / (1024 * MIB):.2f} GiB"
    if size >= 999.95 * 1024:
        return f"{sign}{size / MIB:.1f} MiB"
    if size >= 1024:
        return f"{sign}{size / 1024:.1f} KiB"
    return f"{sign}{size:.0f} B"


def time_text(milliseconds: float | None) -> str:
    """Milliseconds as "12.3 ms", "840 µs", "4.2 s" or "3 min 20 s"."""
    if milliseconds is None:
        return NO_VALUE
    if milliseconds < 1:
        return f"{milliseconds * 1000:.0f} µs"
    if milliseconds < 1000:
        return f"{milliseconds:.3g} ms"
    seconds = milliseconds / 1000
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def percent_text(share: float | None) -> str:
    """A share in 0 to 1 as "91.4 %"."""
    return NO_VALUE if share is None else f"{share * 100:.1f} %"


def score_writer(metric: Metric) -> Callable[[float], str]:
    """How a metric is written: a share as a percentage, else its number."""
    return percent_text if metric.is_share else lambda value: f"{value:.4g}"


def change_text(one: float | None, other: float | None, write: Callable[[float], str]) -> str:
    """A difference with its sign, as "+1.2 MiB"; a dash where one of the two is missing."""
    if one is None or other is None:
        return "–"
    if one == other:
        return "no change"
    return f"{'+' if other > one else '−'}{write(abs(other - one))}"


def points_text(difference: float) -> str:
    """A difference of two shares as "+31.9 points"."""
    return f"{'+' if difference >= 0 else '−'}{abs(difference) * 100:.1f} points"


def reading_text(reading: Reading, write: Callable[[float], str]) -> str:
    """The value of a reading in words, or "not measured" with the reason."""
    return write(reading.value) if reading.value is not None else f"{NO_VALUE}: {reading.reason}"


def limit_text(limit: Limit) -> str:
    """The limit that held, in words, without a final full stop."""
    size = f" at {bytes_text(limit.nbytes)}" if limit.nbytes is not None else ""
    promise = limit.guarantee.removeprefix(f"{limit.kind}: ").rstrip(".")
    return f"{limit.kind}{size}: {promise}"
