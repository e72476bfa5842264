"""One training step of resnet32: the native engine against PyTorch, onnxruntime-training and SparseProp, as ratios.

    python -m bench.step                                       (90 %, batches 32, 4 and 1)
    python -m bench.step --sparsities 0.8 0.9 0.95 0.98 --batches 32 --out bench/records/step
    python -m bench.step --grow                                (how time and memory grow with batch, width and depth)

Every cell runs in a process of its own, one after the other, the rivals in turn with ours so that a busy machine slows
both: float32, SGD with momentum, batch norm in training, `--threads` threads. PyTorch trains masked dense weights and
stands with the better of contiguous and channels_last; onnxruntime-training trains dense weights in a process without
torch; SparseProp's row appears where it is installed. Memory is the kernel's peak of the whole process (VmHWM).
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

from bench.circumstances import circumstances, spread, version
from bench.step_picture import picture

FORMAT_OF = {"irregular": "csr", "block": "block", "pattern": "pattern", "channel": "channel", "dense": "dense"}
RIVALS = ["torch", "torch-last", "ort", "sparseprop"]
MODULES = {"native": "bench.step_native", "ort": "bench.step_ort"}
PACKAGES = ("numpy", "torch", "onnxruntime-training-cpu", "sparseprop")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schemes", nargs="+", choices=FORMAT_OF, default=list(FORMAT_OF))
    parser.add_argument("--sparsities", nargs="+", type=float, default=[0.9])
    parser.add_argument("--batches", nargs="+", type=int, default=[32, 4, 1])
    parser.add_argument("--recompute", nargs="+", default=["none", "activations", "blocks"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2, help="times that every cell is run")
    parser.add_argument("--steps", type=int, default=0, help="timed steps of a cell (default: about two seconds)")
    parser.add_argument("--grow", action="store_true", help="batch, width and depth instead of schemes")
    parser.add_argument("--rivals", nargs="*", choices=RIVALS, default=RIVALS, help="whom to measure beside ours")
    parser.add_argument("--out", type=Path, help="folder for step.json and step.png")
    args = parser.parse_args()
    found = circumstances(PACKAGES)
    print(json.dumps(found, indent=1))
    cells = growth(args) if args.grow else grid(args)
    records: list[dict[str, Any]] = [{**cell, "runs": []} for cell in cells]
    with tempfile.TemporaryDirectory(prefix="mest-step-") as folder:
        for number in range(args.rounds):
            for record in records:
                network = written_network(Path(folder), record)
                record["runs"].append(run_cell({**record, "network": network}, args.threads, args.steps))
                print(f"round {number + 1}: {record['name']}: {record['runs'][-1]}", file=sys.stderr, flush=True)
    summary = summarise(records)
    print(table(summary))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        content = {"circumstances": found, "threads": args.threads, "cells": summary, "runs": records}
        (args.out / "step.json").write_text(json.dumps(content, indent=1))
        if not args.grow:
            picture(summary, args.out / "step.png")


def grid(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Cells of schemes, sparsities and batches, each rival beside ours."""
    cells = []
    for batch in args.batches:
        for rival in args.rivals:
            if rival == "sparseprop" and version(rival) == "not installed":
                continue
            cells.append(cell(rival, *(("dense", 0.0) if rival == "ort" else ("irregular", 0.9)), batch))
        for scheme in args.schemes:
            for sparsity in [0.0] if scheme == "dense" else args.sparsities:
                if scheme == "pattern" and sparsity < 5 / 9:
                    continue
                for recompute in args.recompute if sparsity in (0.0, 0.9) else ["none"]:
                    cells.append(cell("native", scheme, sparsity, batch, recompute))
    return cells


def growth(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Cells along one axis at a time, from irregular 90 % at batch 8."""
    axes = [("batch", 1), ("batch", 2), ("batch", 4), ("batch", 8), ("batch", 16), ("batch", 64)]
    axes += [("width", 16), ("width", 64), ("blocks", 3), ("blocks", 9)]
    return [cell("native", "irregular", 0.9, **{"batch": 8, axis: value}) for axis, value in axes]


def cell(
    engine: str, scheme: str, sparsity: float, batch: int, recompute: str = "none", width: int = 32, blocks: int = 5
) -> dict[str, Any]:
    """One thing to measure."""
    name = f"{engine} {scheme} {sparsity:g} batch {batch} {recompute} width {width} blocks {blocks}"
    return {
        "name": name,
        "engine": engine,
        "scheme": scheme,
        "sparsity": sparsity,
        "batch": batch,
        "recompute": recompute,
        "width": width,
        "blocks": blocks,
    }


def written_network(folder: Path, found: dict[str, Any]) -> str:
    """Where the cell's network lies, written by a process that ends before the cell begins; nowhere for PyTorch's."""
    if found["engine"] == "ort":
        target = folder / "ort"
        if not target.exists():
            target.mkdir()
            subprocess.run([sys.executable, "-m", "bench.step_ort", "--write", str(target)], check=True)
        return str(target)
    if found["engine"] != "native":
        return ""
    axes = [found[name] for name in ("scheme", "sparsity", "width", "blocks")]
    target = folder / "-".join(map(str, axes))
    if not target.exists():
        subprocess.run([sys.executable, "-m", "bench.step_network", json.dumps(axes), str(target)], check=True)
    return str(target)


def run_cell(found: dict[str, Any], threads: int, steps: int) -> dict[str, Any]:
    """What the cell's own process printed."""
    module = MODULES.get(found["engine"], "bench.step_torch")
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
    asked = {key: value for key, value in found.items() if key != "runs"} | {"threads": threads, "steps": steps}
    command = [sys.executable, "-m", module, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"}
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def summarise(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each cell with the fastest of its rounds, and its ratios to the best PyTorch at the same batch."""
    summary = []
    for record in records:
        good = [run for run in record["runs"] if "failed" not in run]
        entry = {key: value for key, value in record.items() if key != "runs"}
        if good:
            best = min(good, key=lambda run: run["step_ms"]["median"])
            entry |= {**best, "rounds_ms": spread([run["step_ms"]["median"] for run in good])}
        else:
            entry["failed"] = record["runs"][-1]["failed"]
        summary.append(entry)
    for entry in summary:
        rivals = [
            other
            for other in summary
            if other["engine"].startswith("torch") and other["batch"] == entry["batch"] and "failed" not in other
        ]
        if rivals and "failed" not in entry and not entry["engine"].startswith("torch"):
            entry["speed_of_torch"] = min(other["step_ms"]["median"] for other in rivals) / entry["step_ms"]["median"]
            entry["memory_of_torch"] = entry["peak_bytes"] / min(other["peak_bytes"] for other in rivals)
    return summary


def table(summary: Sequence[dict[str, Any]]) -> str:
    """The summary in Markdown."""
    columns = ["engine", "scheme", "sparsity", "batch", "recompute", "width × blocks", "step ms (range)", "peak MiB"]
    columns += ["× PyTorch's speed", "× PyTorch's memory"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for entry in summary:
        head = f"| {entry['engine']} | {entry['scheme']} | {entry['sparsity']:g} | {entry['batch']} "
        head += f"| {entry['recompute']} | {entry['width']} × {entry['blocks']} "
        if "failed" in entry:
            lines.append(f"{head}| failed: {entry['failed'][:60]} | | | |")
            continue
        rounds = entry["rounds_ms"]
        speed, memory = entry.get("speed_of_torch"), entry.get("memory_of_torch")
        lines.append(
            f"{head}| {entry['step_ms']['median']:.1f} ({rounds['min']:.1f}–{rounds['max']:.1f}) "
            f"| {entry['peak_bytes'] / 2**20:.0f} | {f'{speed:.2f}' if speed else ''} "
            f"| {f'{memory:.2f}' if memory else ''} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
