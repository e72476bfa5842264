"""This checkout's training step beside another's, taken in turns: what a change of the native engine gains or costs.

    git worktree add ../before HEAD~1 && (cd ../before && python -m edge.libmest.build)
    python -m bench.against ../before [--schemes irregular block] [--batches 32 4 1] [--threads 1] [--rounds 8]
    python -m bench.saved_network '["torchvision:mobilenet_v2", "irregular", 0.9, 96]' NETWORK
    python -m bench.against ../before --network NETWORK

Both train the same network, resnet32 at 90 % or one's own (an artifact's folder will do), each in a process of its own
that stays; a round is a few steps of one and then of the other, so a machine that others use slows both. With one
thread the figure is the processor's time, else the clock's: the quickest step of each round, of which the least and the
median over all rounds are shown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.step_network import residual_network
from edge.network import write_network

HERE = Path(__file__).resolve().parent.parent
STEPS = 96  # of batch 1 in a round; of a larger batch fewer
WORKER = """
import json, sys, time
import numpy as np
from edge.engines.native.engine import NativeEngine
from edge.network import read_network
from edge.plan.choices import Choices

folder, batch, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
network = read_network(folder)
engine = NativeEngine.of(network, Choices(batch_size=batch, micro_batch=batch, threads=threads))
images = np.sin(np.arange(batch * np.prod(network.input), dtype=np.float32) ** 1.5).reshape(batch, *network.input)
labels = np.arange(batch) % network.classes
clock = time.process_time if threads == 1 else time.perf_counter
for line in sys.stdin:
    taken = []
    for _ in range(int(line)):
        start = clock()
        engine.train_step(images, labels, 1e-4)
        taken.append(clock() - start)
    print(1e3 * min(taken), flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="another checkout, with its library built")
    parser.add_argument("--schemes", nargs="+", default=["irregular", "block"])
    parser.add_argument("--network", type=Path, help="a folder with network.json; default: resnet32 in each scheme")
    parser.add_argument("--batches", nargs="+", type=int, default=[32, 4, 1])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=8)
    args = parser.parse_args()
    print("| network | batch | threads | before ms, least (median) | now ms, least (median) | speed, least (median) |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="mest-against-") as work:
        for name, folder in [(args.network.name, args.network)] if args.network else examples(Path(work), args.schemes):
            for batch in args.batches:
                taken = in_turns(folder.resolve(), args.other, batch, args.threads, args.rounds)
                print(row(name, batch, args.threads, taken), flush=True)


def examples(work: Path, schemes: Sequence[str]) -> list[tuple[str, Path]]:
    """resnet32 at 90 % in every scheme, by name."""
    for scheme in schemes:
        (work / scheme).mkdir()
        write_network(residual_network(scheme, 0.9), work / scheme)
    return [(scheme, work / scheme) for scheme in schemes]


def in_turns(network: Path, other: Path, batch: int, threads: int, rounds: int) -> np.ndarray:
    """Milliseconds of the quickest step, shape (rounds, 2): of the other checkout and of this one."""
    steps = max(3, STEPS // batch)
    workers = [_worker(tree, network, batch, threads) for tree in (other.resolve(), HERE)]
    try:
        for worker in workers:
            _ask(worker, 2)
        return np.array([[_ask(worker, steps) for worker in workers] for _ in range(rounds)])
    finally:
        for worker in workers:
            worker.communicate()


def row(name: str, batch: int, threads: int, taken: np.ndarray) -> str:
    """A line of the table."""
    least, median = taken.min(axis=0), np.median(taken, axis=0)
    before, now = (f"{a:.2f} ({b:.2f})" for a, b in zip(least, median, strict=True))
    gain = f"{least[0] / least[1]:.2f} ({median[0] / median[1]:.2f})"
    return f"| {name} | {batch} | {threads} | {before} | {now} | {gain} |"


def _worker(tree: Path, network: Path, batch: int, threads: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(network), json.dumps(batch), json.dumps(threads)]
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=tree, env=environment, stdin=pipe, stdout=pipe, text=True)


def _ask(worker: subprocess.Popen[str], steps: int) -> float:
    assert worker.stdin
    assert worker.stdout
    worker.stdin.write(f"{steps}\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


if __name__ == "__main__":
    main()
