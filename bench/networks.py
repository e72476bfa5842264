"""Networks that people carry to a board: which engine trains them, how near to PyTorch, how fast, in how much memory.

Each model has fresh weights, irregular at `--sparsity` in all layers that `mest train` would prune. It is exported for
both engines; one step and ten of each are held against PyTorch in float64 (`bench.agreement`), then one training step
is timed in a process of its own per engine, the engines in turn: float32, SGD with momentum, `--threads` threads. The
time is the processor's (median of a round's steps, then of the rounds), which other work on the machine disturbs less
than it does the clock; the record has both. PyTorch trains masked dense weights and stands with the better of
contiguous and channels_last. Memory is the kernel's peak of the whole process (VmHWM), runtime included.

A model is added to the record as soon as it is measured, so that an interrupted run goes on where it stopped.

    python -m bench.networks --json bench/records/networks.json     (what the record lacks; hours on a small machine)
    python -m bench.networks --models torchvision:resnet18 bench.networks_own:silu
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

OWN = (
    "sigmoid_gates",
    "silu",
    "hardswish",
    "depthwise",
    "group_norm",
    "layer_norm",
    "keyword_spotting",
    "autoencoder",
    "unet",
    "vision_transformer",
)
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
    "swin_t",
    "swin_v2_t",
    "vit_b_16",
)
TIMM = (  # where it is installed
    "mobilenetv4_conv_small",
    "fastvit_t8",
    "edgenext_xx_small",
    "efficientformer_l1",
    "repvit_m0_9",
    "mobilevitv2_050",
    "convnextv2_atto",
    "levit_128s",
)
MODELS = (
    *(f"bench.networks_own:{name}" for name in OWN),
    "windows",
    *(f"torchvision:{name}" for name in TORCHVISION),
    *(f"timm.models:{name}" for name in TIMM),
)
CLASSES = 10
SIDES = {"vit_b_16": 224, "efficientformer_l1": 224, "levit_128s": 224}  # height and width; the others take --side
OTHERS: dict[str, dict[str, Any]] = {  # what a model has instead of images of three channels and CLASSES classes
    "keyword_spotting": {"image": (1, 40, 32)},
    "windows": {"image": (6, 128)},
    "autoencoder": {"image": (6, 128), "classes": 6, "task": "reconstruction"},
    "unet": {"task": "segmentation"},
}
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
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3, help="times that every engine's step is measured")
    parser.add_argument("--steps", type=int, default=0, help="timed steps of a round (default: about two seconds)")
    parser.add_argument("--limit", type=int, default=1800, help="seconds that one process may take")
    parser.add_argument("--again", action="store_true", help="models that the record has already too")
    parser.add_argument("--json", type=Path, help="the record")
    parser.add_argument("--table", action="store_true", help="print the table of --json and stop")
    options = parser.parse_args()
    records = json.loads(options.json.read_text()) if options.json and options.json.is_file() else []
    have = set() if options.again else {record["model"] for record in records}
    for name in () if options.table else options.models:
        if name in have:
            continue
        side = SIDES.get(short(name), options.side)
        asked = {"model": name, "image": (3, side, side), "classes": CLASSES, "task": "classification"}
        asked |= {"sparsity": options.sparsity, "batch": options.batch, "threads": options.threads}
        asked |= OTHERS.get(short(name), {})
        record = {**asked, **measure(asked, options.rounds, options.steps, options.limit)}
        record["circumstances"] = circumstances(("numpy", "torch", "torchvision", "timm", "onnxruntime-training-cpu"))
        records = [old for old in records if old["model"] != name] + [record]
        print(markdown([record]).splitlines()[-1], flush=True)
        if options.json:
            options.json.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    print(markdown(records))


def short(name: str) -> str:
    """The model's own name."""
    return name.rpartition(":")[2]


def measure(asked: dict[str, Any], rounds: int, steps: int, limit: int) -> dict[str, Any]:
    """Which engines train the model, their agreement with PyTorch, and the steps of all."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = child("bench.networks_prepare", {**asked, "folder": folder}, asked["threads"], limit)
        if "failed" in prepared:
            return prepared
        engines = [engine for engine in CELLS if engine not in prepared["missing"]]
        if len(asked["image"]) != 3:
            engines.remove("torch-last")  # there is one way only to store windows
        runs: dict[str, list[dict[str, Any]]] = {engine: [] for engine in engines}
        for _ in range(rounds):
            for engine in engines:
                cell = {**asked, "engine": engine, "network": folder, "steps": steps, "recompute": "none"}
                runs[engine].append(child(CELLS[engine], cell, asked["threads"], limit))
    return {**prepared, "runs": runs}


def child(module: str, asked: dict[str, Any], threads: int, limit: int) -> dict[str, Any]:
    """What a process of its own printed, or the last line of why it failed."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module, json.dumps(asked)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {limit} s"}
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def best(runs: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The medians of all rounds, by processor and clock, and the largest peak; None where none ran."""
    good = [run for run in runs if "failed" not in run]
    if not good:
        return None
    times = {kind: spread([run[kind]["median"] for run in good])["median"] for kind in ("cpu_ms", "step_ms")}
    return {**times, "peak_bytes": max(run["peak_bytes"] for run in good)}


def markdown(records: Sequence[dict[str, Any]]) -> str:
    """One line a model: agreement, step and peak by engine, and what the native one is of PyTorch's."""
    head = ["model (input)", "native: one step", "ten", "ms", "MiB", "ort: one step", "ten", "ms", "MiB"]
    head += ["PyTorch ms", "MiB", "native: times faster", "of its memory"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for record in sorted(records, key=lambda one: [*MODELS, one["model"]].index(one["model"])):
        cells = [f"{short(record['model'])} ({'×'.join(map(str, record['image']))})"]
        if "failed" in record:
            lines.append(f"| {cells[0]} | {record['failed'][:100]} |" + " |" * (len(head) - 2))
            continue
        found = {engine: best(runs) for engine, runs in record["runs"].items()}
        for engine in ("native", "ort"):
            cells += [*agreement(record, engine), *figures(found.get(engine))]
        rivals = [run for engine in ("torch", "torch-last") if (run := found.get(engine))]
        torch = min(rivals, key=lambda run: run["cpu_ms"], default=None)
        cells += figures(torch)
        native = found.get("native")
        if native and torch:
            cells.append(f"{torch['cpu_ms'] / native['cpu_ms']:.1f}")
            cells.append(f"{native['peak_bytes'] / min(run['peak_bytes'] for run in rivals):.2f}")
        else:
            cells += ["", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def agreement(record: dict[str, Any], engine: str) -> list[str]:
    """How far an engine is from PyTorch in float64, or why it does not train the model.

    After one step the share of what an export allows; after ten the largest relative difference, and in brackets that
    of PyTorch's own float32.
    """
    if engine in record["missing"]:
        return [record["missing"][engine].split(" (")[0].split(":")[0][:60], ""]
    first, taken = record.get("one_step", {}).get(engine), record["ten_steps"]
    one = f"{first['share']:.2f}" if first else "apart"
    return [one, f"{max(taken[engine].values()):.0e} ({max(taken['torch float32'].values()):.0e})"]


def figures(run: dict[str, Any] | None) -> list[str]:
    """Milliseconds of a step by the processor and MiB at the peak."""
    return [f"{run['cpu_ms']:.1f}", f"{run['peak_bytes'] / 2**20:.0f}"] if run else ["", ""]


if __name__ == "__main__":
    main()
