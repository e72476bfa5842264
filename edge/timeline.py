"""The course of a run in bounded memory: a few hundred points, thinned as the run grows."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

_MOST_POINTS = 512


@dataclass(frozen=True)
class Point:
    """One step: its loss, its times in milliseconds, the learning rate and the bytes resident after it."""

    step: int
    loss: float
    step_ms: float
    data_ms: float
    learning_rate: float
    resident_bytes: int | None


@dataclass
class Timeline:
    """Points of evenly spaced steps; every second one is let go when there are too many."""

    points: list[Point] = field(default_factory=list)
    _every: int = 1
    _seen: int = 0
    _first: tuple[float, float] | None = None  # time and progress where the estimate of the rest begins

    def add(
        self, step: int, loss: float, step_ms: float, data_ms: float, learning_rate: float, resident_bytes: int | None
    ) -> None:
        """Take a step in, or leave it out if it falls between the kept ones."""
        if self._seen % self._every == 0:
            self.points.append(Point(step, loss, step_ms, data_ms, learning_rate, resident_bytes))
            if len(self.points) >= _MOST_POINTS:
                del self.points[1::2]
                self._every *= 2
        self._seen += 1

    @property
    def step_ms_median(self) -> float | None:
        """Median time of a step without reading its data; None before the first."""
        return _median([point.step_ms for point in self.points])

    @property
    def data_ms_median(self) -> float | None:
        """Median time of reading a batch; None before the first."""
        return _median([point.data_ms for point in self.points])

    def seconds_left(self, progress: float) -> float | None:
        """Estimated seconds to the end at the pace so far; None until there is a pace."""
        now = time.perf_counter()
        if self._first is None:
            self._first = (now, progress)
            return None
        started, first = self._first
        return (now - started) / (progress - first) * (1 - progress) if progress > first else None


def _median(numbers: list[float]) -> float | None:
    """The upper median; None of nothing. (The statistics module would load decimals and random numbers.)"""
    return sorted(numbers)[len(numbers) // 2] if numbers else None
