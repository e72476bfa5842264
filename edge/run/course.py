"""The course of a run in bounded memory: a few hundred points, thinned as the run grows."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

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


class Timeline:
    """Points of evenly spaced steps; every second one is let go when there are too many.

    They are rows of one array that is there from the start, so that a long run holds no more than a short one.
    """

    def __init__(self) -> None:
        self._rows = np.zeros((_MOST_POINTS, 6))
        self._count = 0
        self._every = 1
        self._seen = 0
        self._first: tuple[float, float] | None = None  # time and progress where the estimate of the rest begins

    def add(
        self, step: int, loss: float, step_ms: float, data_ms: float, learning_rate: float, resident_bytes: int | None
    ) -> None:
        """Take a step in, or leave it out if it falls between the kept ones."""
        if self._seen % self._every == 0:
            resident = np.nan if resident_bytes is None else resident_bytes
            self._rows[self._count] = step, loss, step_ms, data_ms, learning_rate, resident
            self._count += 1
            if self._count == _MOST_POINTS:
                self._rows[: _MOST_POINTS // 2] = self._rows[::2]
                self._count = _MOST_POINTS // 2
                self._every *= 2
        self._seen += 1

    @property
    def points(self) -> tuple[Point, ...]:
        """The kept points in order."""
        return tuple(
            Point(int(step), loss, step_ms, data_ms, rate, None if resident != resident else int(resident))
            for step, loss, step_ms, data_ms, rate, resident in self._rows[: self._count].tolist()
        )

    @property
    def step_ms_median(self) -> float | None:
        """Median time of a step without reading its data; None before the first."""
        return self._median(2)

    @property
    def data_ms_median(self) -> float | None:
        """Median time of reading a batch; None before the first."""
        return self._median(3)

    def _median(self, column: int) -> float | None:
        """The upper median; None of nothing. (np.median would bring a megabyte of its code along.)"""
        return float(np.sort(self._rows[: self._count, column])[self._count // 2]) if self._count else None

    def seconds_left(self, progress: float) -> float | None:
        """Estimated seconds to the end at the pace so far; None until there is a pace."""
        now = time.perf_counter()
        if self._first is None:
            self._first = (now, progress)
            return None
        started, first = self._first
        return (now - started) / (progress - first) * (1 - progress) if progress > first else None
