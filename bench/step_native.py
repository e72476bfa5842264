"""One cell of bench.step: the native engine in a process that holds nothing else. Prints JSON."""

from __future__ import annotations

import json
import sys

from bench.step_cell import samples, timed
from edge.engines.native.engine import NativeEngine
from edge.host.counters import read_counters
from edge.network import read_network
from edge.plan.choices import Choices


def main() -> None:
    asked = json.loads(sys.argv[1])
    before = read_counters().resident or 0
    network = read_network(asked["network"])
    batch = asked["batch"]
    kept = {"recompute": asked["recompute"], "saved": asked.get("saved", "float32")}
    choices = Choices(batch_size=batch, micro_batch=batch, threads=asked["threads"], **kept)
    engine = NativeEngine.of(network, choices)
    network.release()
    images, labels = samples(batch, network.input, network.classes)
    if not network.task.of_classes:
        labels = network.task.noise(batch, network.output)
    times = timed(lambda: engine.train_step(images, labels, 0.01), asked["steps"], 10, 2.0)
    result = {
        **times,
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
