"""What the cells of a step bench share. Imports numpy alone: each cell measures the memory of its own process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def samples(batch: int, image: Sequence[int], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 `(batch, *image)` and labels int64 `(batch,)` (numpy.random alone would add 6 MiB to the peak)."""
    values = np.sin(np.arange(batch * np.prod(image), dtype=np.float32) ** 1.5)
    return values.reshape(batch, *image), np.arange(batch, dtype=np.int64) % classes


def timed(step: Callable[[], object], steps: int, least: int, seconds: float) -> dict[str, Any]:
    """Milliseconds by the clock and of the processor, after two unmeasured steps.

    With `steps` 0 it takes as many as fit into `seconds`, but at least `least`.
    """
    for _ in range(2):
        step()
    begin, clock, processor = time.perf_counter(), [], []
    while len(clock) < (steps or least) or (not steps and time.perf_counter() - begin < seconds):
        started, busy = time.perf_counter(), time.process_time()
        step()
        clock.append(1e3 * (time.perf_counter() - started))
        processor.append(1e3 * (time.process_time() - busy))
    return {
        name: {"min": min(times), "median": float(np.median(times)), "max": max(times)}
        for name, times in (("step_ms", clock), ("cpu_ms", processor))
    }
