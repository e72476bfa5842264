"""What is kept for the backward pass in fewer bits: memory and time of a step, and the accuracy of fine-tuning.

    python -m bench.saved --out bench/records/saved                (all of it)
    python -m bench.saved --out DIR --seeds                        (no accuracy)
    python -m bench.saved --out DIR --networks                     (no steps)

Steps: resnet32 (90 % irregular, batch 32) and mobilenet_v2 at 64×64 (80 % irregular, batch 32), in a process of its own
for each way to keep tensors and each way to recompute them, in turn, so that a busy machine slows all alike; the arena
is what was planned, the peak what the kernel counted of the whole process, time that of the processor. Accuracy: for
each seed a network is trained on the packaged digits, exported, and fine-tuned on the digits as another sensor sees
them (the demo's), three times with nothing different but what is kept. `records.json` holds all of it, `table.md` is
made of that.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from bench.accuracy_finetune import BATCH_SIZE, EPOCHS, LEARNING_RATE, MOMENTUM, TRAINING, WEIGHT_DECAY
from bench.accuracy_report import summary
from bench.circumstances import circumstances
from bench.step import run_cell
from mest.demo.commands import Commands
from mest.demo.material import make_material
from mest.demo.script import mest

SAVED = ("float32", "bfloat16", "int8")
RECOMPUTE = ("none", "activations", "blocks")
NETWORKS = {  # by name, the module that writes one, and its arguments
    "resnet32": ("bench.step_network", ["irregular", 0.9, 32, 5]),
    "mobilenet_v2": ("bench.saved_network", ["torchvision:mobilenet_v2", "irregular", 0.8, 64]),
}
BATCH = 32
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the records and the table")
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--seeds", nargs="*", type=int, default=list(range(10)))
    parser.add_argument("--scheme", default="block", help="of the networks that are fine-tuned")
    parser.add_argument("--rounds", type=int, default=3, help="times that every step is measured")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "records.json"
    found = json.loads(file.read_text()) if file.exists() else {"steps": [], "accuracy": []}
    with tempfile.TemporaryDirectory(prefix="mest-saved-") as folder:
        for name in args.networks:
            cells = steps(name, Path(folder), args.rounds, args.threads)
            found["steps"] = [cell for cell in found["steps"] if cell["network"] != name] + cells
            file.write_text(json.dumps(found, indent=1) + "\n")
        for seed in args.seeds:
            ends = accuracies(args.scheme, seed, Path(folder) / f"seed-{seed}")
            found["accuracy"] = [one for one in found["accuracy"] if one["seed"] != seed] + [ends]
            file.write_text(json.dumps(found, indent=1) + "\n")
            print(json.dumps(ends), file=sys.stderr, flush=True)
    text = table(found)
    (args.out / "table.md").write_text(text)
    print(text)


def steps(name: str, folder: Path, rounds: int, threads: int) -> list[dict[str, Any]]:
    """Every way to keep and recompute of one network: planned arena, measured peaks and steps of each round."""
    module, about = NETWORKS[name]
    target = folder / name
    subprocess.run([sys.executable, "-m", module, json.dumps(about), str(target)], check=True)
    cells: list[dict[str, Any]] = [
        {"network": name, "recompute": recompute, "saved": saved, "batch": BATCH, "runs": []}
        for recompute in RECOMPUTE
        for saved in SAVED
    ]
    for _ in range(rounds):
        for cell in cells:
            asked = {**{key: cell[key] for key in ("recompute", "saved", "batch")}, "engine": "native"}
            cell["runs"].append(run_cell({**asked, "network": str(target)}, threads, 0))
            print(name, cell["recompute"], cell["saved"], cell["runs"][-1], file=sys.stderr, flush=True)
    return [{**cell, "threads": threads, "circumstances": circumstances(("numpy",))} for cell in cells]


def accuracies(scheme: str, seed: int, work: Path) -> dict[str, Any]:
    """Test accuracies after fine-tuning one trained network, by what is kept."""
    work.mkdir(parents=True)
    commands = Commands(work, stop=lambda: False)
    commands.run(mest("train", *TRAINING, "--scheme", scheme, "--seed", seed, "--out", "run"))
    commands.run(mest("export", "run", "--out", "artifact", "--for", "native"))
    learn, test, *_ = make_material(work / "material", seed)
    words = ("--data", learn, "--eval-data", test, "--engine", "native", "--threads", 1, "--epochs", EPOCHS)
    words += ("--batch-size", BATCH_SIZE, "--lr", LEARNING_RATE, "--lr-scheduler", "cosine", "--seed", seed)
    words += ("--momentum", MOMENTUM, "--weight-decay", WEIGHT_DECAY)
    ends: dict[str, Any] = {"scheme": scheme, "seed": seed}
    for saved in SAVED:
        result = commands.run(
            mest("finetune", "artifact", *words, "--saved", saved, "--out", saved, called=saved)
        ).result
        ends |= {saved: result["accuracy_after"], "before": result["accuracy_before"]}
        ends[f"{saved}_zeros_kept"] = result["zeros_kept"]
    return ends


def table(found: dict[str, Any]) -> str:
    """Steps with their ratios to float32's of the same recomputation, and accuracies with their difference to it."""
    lines = []
    if found["steps"]:
        head = ["network", "recompute", "saved", "arena MiB", "× float32", "peak MiB", "× float32"]
        head += ["processor time × float32 (range)"]
        lines += [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for cell in found["steps"]:
        same = ("network", "recompute")
        whole = next(
            one for one in found["steps"] if one["saved"] == "float32" and all(one[key] == cell[key] for key in same)
        )
        ratios = [
            mine["cpu_ms"]["min"] / theirs["cpu_ms"]["min"]
            for mine, theirs in zip(cell["runs"], whole["runs"], strict=True)
        ]
        arena, arenas = (one["runs"][0]["arena_bytes"] / MIB for one in (cell, whole))
        peak, peaks = (min(run["peak_bytes"] for run in one["runs"]) / MIB for one in (cell, whole))
        row = [cell["network"], cell["recompute"], cell["saved"], f"{arena:.1f}", f"{arena / arenas:.2f}"]
        row += [
            f"{peak:.0f}",
            f"{peak / peaks:.2f}",
            f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})",
        ]
        lines.append(f"| {' | '.join(row)} |")
    if found["accuracy"]:
        lines += [
            "",
            "| scheme | saved | accuracy, % (seeds) | difference from float32, points | seeds with equal accuracy |",
            "|---|---|---|---|---|",
        ]
    rows = found["accuracy"]
    for saved in SAVED if rows else ():
        gaps = [100 * (row[saved] - row["float32"]) for row in rows]
        error = f" ± {stdev(gaps) / len(gaps) ** 0.5:.2f}" if len(gaps) > 1 else ""
        equal = sum(row[saved] == row["float32"] for row in rows)
        accuracy = summary([100 * row[saved] for row in rows])
        lines.append(
            f"| {rows[0]['scheme']} | {saved} | {accuracy} | {mean(gaps):+.2f}{error} | {equal} of {len(rows)} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
