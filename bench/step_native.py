"""One cell of bench.step: the native engine in a process that holds nothing else. Prints JSON."""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from edge.memory import read_counters
from edge.native.engine import NativeEngine
from edge.network import read_network
from edge.plan.choices import Choices

SECONDS = 2.0


def main() -> None:
    asked = json.loads(sys.argv[1])
    before = read_counters().resident or 0
    network = read_network(asked["network"])
    batch = asked["batch"]
    choices = Choices(batch_size=batch, micro_batch=batch, threads=asked["threads"], recompute=asked["recompute"])
    engine = NativeEngine(network, choices)
    network.release()
    images = np.sin(np.arange(batch * np.prod(network.input), dtype=np.float32) ** 1.5).reshape(batch, *network.input)
    labels = np.arange(batch) % network.classes  # numpy.random alone would add 6 MiB to the peak
    for _ in range(3):
        engine.train_step(images, labels, 0.01)
    steps, begin, times = asked["steps"], time.perf_counter(), []
    while len(times) < (steps or 10) or (not steps and time.perf_counter() - begin < SECONDS):
        start = time.perf_counter()
        engine.train_step(images, labels, 0.01)
        times.append(1e3 * (time.perf_counter() - start))
    result = {
        "step_ms": {"min": min(times), "median": float(np.median(times)), "max": max(times)},
        "peak_bytes": read_counters().peak,
        "baseline_bytes": before,
        "planned_bytes": engine.footprint.nbytes,
        "arena_bytes": engine.footprint.arena.nbytes,
        "instruction_set": engine.instruction_set,
        "sparsity_achieved": engine.sparsity(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
