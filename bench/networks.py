"""Networks that people carry to a board: which engine trains them, how near to PyTorch, how fast, in how much memory.

Each model has fresh weights, irregular at `--sparsity` in all layers that `mest train` would prune. It is exported for
both engines; ten steps of each are held against PyTorch in float64 (`bench.agreement`), then one training step is timed
in a process of its own per engine, the engines in turn, so that a busy machine slows all: float32, SGD with momentum,
`--threads` threads. PyTorch trains masked dense weights and stands with the better of contiguous and channels_last.
Memory is the kernel's peak of the whole process (VmHWM), runtime included.

    python -m bench.networks --json bench/records/networks.json     (all models; hours on a small machine)
    python -m bench.networks --models torchvision:resnet18 bench.networks_own:gated
    python -m bench.networks --json bench/records/networks.json --table       (its table, nothing is run)
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
from typing import Any

from bench.circumstances import circumstances, spread

OWN = ("sigmoid_gates", "silu", "hardswish", "depthwise", "group_norm", "layer_norm", "keyword_spotting")
TORCHVISION = (
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "mnasnet0_5",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "regnet_y_400mf",
    "squeezenet1_1",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
    "densenet121",
    "googlenet",
    "resnet18",
    "resnet50",
    "vgg11",
    "convnext_tiny",
    "vit_b_16",
    "swin_t",
)
MODELS = (*(f"bench.networks_own:{name}" for name in OWN), *(f"torchvision:{name}" for name in TORCHVISION))
INPUTS = {"keyword_spotting": (1, 40, 32), "vit_b_16": (3, 224, 224)}  # channels, height, width; the others take --side
CLASSES = 10
CELLS = {
    "native": "bench.step_native",
    "ort": "bench.step_ort",
    "torch": "bench.networks_torch",
    "torch-last": "bench.networks_torch",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--side", type=int, default=64, help="height and width of the images")
    parser.add_argument("--sparsity", type=float, default=0.8)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="times that every engine's step is measured")
    parser.add_argument("--steps", type=int, default=0, help="timed steps of a round (default: about two seconds)")
    parser.add_argument("--json", type=Path, help="the record; models that it has already are measured again")
    parser.add_argument("--table", action="store_true", help="print the table of --json and stop")
    options = parser.parse_args()
    records = json.loads(options.json.read_text()) if options.json and options.json.is_file() else []
    for name in () if options.table else options.models:
        shape = INPUTS.get(short(name), (3, options.side, options.side))
        asked = {"model": name, "image": shape, "classes": CLASSES, "sparsity": options.sparsity}
        asked |= {"batch": options.batch, "threads": options.threads}
        record = {**asked, **measure(asked, options.rounds, options.steps)}
        record["circumstances"] = circumstances(("numpy", "torch", "torchvision", "onnxruntime-training-cpu"))
        records = [old for old in records if old["model"] != name] + [record]
        print(markdown([record]).splitlines()[-1], flush=True)
        if options.json:
            options.json.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    print(markdown(records))


def short(name: str) -> str:
    """The model's own name."""
    return name.rpartition(":")[2]


def measure(asked: dict[str, Any], rounds: int, steps: int) -> dict[str, Any]:
    """Which engines train the model, their agreement with PyTorch, and the steps of all."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = child("bench.networks_prepare", {**asked, "folder": folder}, asked["threads"])
        if "failed" in prepared:
            return prepared
        engines = [engine for engine in CELLS if engine not in prepared["missing"]]
        runs: dict[str, list[dict[str, Any]]] = {engine: [] for engine in engines}
        for _ in range(rounds):
            for engine in engines:
                cell = {**asked, "engine": engine, "network": folder, "steps": steps, "recompute": "none"}
                runs[engine].append(child(CELLS[engine], cell, asked["threads"]))
    return {**prepared, "runs": runs}


def child(module: str, asked: dict[str, Any], threads: int) -> dict[str, Any]:
    """What a process of its own printed, or the last line of why it failed."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def best(runs: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The run of the fastest median step, with the medians of all rounds; None where none ran."""
    good = [run for run in runs if "failed" not in run]
    if not good:
        return None
    fastest = min(good, key=lambda run: run["step_ms"]["median"])
    return {**fastest, "rounds_ms": spread([run["step_ms"]["median"] for run in good])}


def markdown(records: Sequence[dict[str, Any]]) -> str:
    """One line a model: agreement, step and peak by engine, and what the better of ours is of PyTorch's."""
    head = ["model (input)", "native: ten steps", "ms", "MiB", "ort: ten steps", "ms", "MiB", "PyTorch ms", "MiB"]
    head += ["native: times faster", "of its memory"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for record in sorted(records, key=lambda one: [*MODELS, one["model"]].index(one["model"])):
        cells = [f"{short(record['model'])} ({'×'.join(map(str, record['image']))})"]
        if "failed" in record:
            lines.append(f"| {cells[0]} | {record['failed'][:100]} |" + " |" * (len(head) - 2))
            continue
        found = {engine: best(runs) for engine, runs in record["runs"].items()}
        for engine in ("native", "ort"):
            cells += [agreement(record, engine), *figures(found.get(engine))]
        rivals = [run for engine in ("torch", "torch-last") if (run := found.get(engine))]
        torch = min(rivals, key=lambda run: run["step_ms"]["median"], default=None)
        cells += figures(torch)
        native = found.get("native")
        if native and torch:
            cells.append(f"{torch['step_ms']['median'] / native['step_ms']['median']:.1f}")
            cells.append(f"{native['peak_bytes'] / min(run['peak_bytes'] for run in rivals):.2f}")
        else:
            cells += ["", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def agreement(record: dict[str, Any], engine: str) -> str:
    """The largest relative difference from PyTorch in float64 after ten steps, beside its float32's; or why none."""
    if engine in record["missing"]:
        return record["missing"][engine].split(":")[0][:60]
    taken = record["ten_steps"]
    return f"{max(taken[engine].values()):.0e} ({max(taken['torch float32'].values()):.0e})"


def figures(run: dict[str, Any] | None) -> list[str]:
    """Milliseconds of a step and MiB at the peak."""
    return [f"{run['step_ms']['median']:.1f}", f"{run['peak_bytes'] / 2**20:.0f}"] if run else ["", ""]


if __name__ == "__main__":
    main()
