"""Whether fine-tuning in the native engine is as accurate as in PyTorch: same network, data and schedule, many seeds.

    python -m bench.accuracy_finetune --out bench/records/finetune

For each seed a sparse network is trained on the packaged digits and exported; then both sides fine-tune it on the
digits as another sensor sees them (the demo's): SGD as exported, cosine schedule, training batch norm, the same
batches in the same order, tested on digits that no run has trained on. What differs is rounding; the question is
whether it moves the accuracy. One line of `records.jsonl` for each seed, from which `table.md` is made.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from bench.accuracy_report import summary
from bench.circumstances import circumstances
from edge.data.batches import in_order
from mest.demo.commands import Commands
from mest.demo.material import make_material
from mest.demo.script import mest, module

TRAINING = ("--data", "digits", "--model", "digits", "--method", "ems", "--sparsity", 0.9, "--epochs", 24)
TRAINING += ("--sp-mask-update-freq", 1, "--threads", 1)
EPOCHS, BATCH_SIZE, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 10, 32, 0.02, 0.9, 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the records and the table")
    parser.add_argument("--work", type=Path, default=Path("runs", "accuracy_finetune"))
    parser.add_argument("--schemes", nargs="+", default=["irregular", "block"])
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(10)))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "records.jsonl"
    done = read(file)
    for seed in args.seeds:
        for scheme in args.schemes:
            if not any(record["scheme"] == scheme and record["seed"] == seed for record in done):
                record = compare(scheme, seed, args.work / f"{scheme}-{seed}")
                with open(file, "a") as records:
                    records.write(json.dumps(record, sort_keys=True) + "\n")
                print(scheme, seed, f"native {record['native']:.4f} PyTorch {record['pytorch']:.4f}", flush=True)
    text = table(read(file))
    (args.out / "table.md").write_text(text)
    print(text)


def read(file: Path) -> list[dict[str, Any]]:
    """The records so far."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def compare(scheme: str, seed: int, work: Path) -> dict[str, Any]:
    """Test accuracies before and after fine-tuning, native and in PyTorch, from one trained network."""
    if work.exists():
        shutil.rmtree(work)
    work.mkdir(parents=True)
    commands = Commands(work, stop=lambda: False)
    commands.run(mest("train", *TRAINING, "--scheme", scheme, "--seed", seed, "--out", "run"))
    commands.run(mest("export", "run", "--out", "artifact"))
    learned, *_ = make_material(work / "material", seed)
    learn, test = "material/new_sensor.npz", "material/new_sensor_test.npz"
    words = ("--data", learn, "--eval-data", test, "--engine", "native", "--threads", 1)
    words += ("--epochs", EPOCHS, "--batch-size", BATCH_SIZE, "--lr", LEARNING_RATE, "--lr-scheduler", "cosine")
    words += ("--momentum", MOMENTUM, "--weight-decay", WEIGHT_DECAY, "--exact", "--seed", seed)
    native = commands.run(mest("finetune", "artifact", *words, "--out", "state")).result
    labels = len(np.load(learned)["labels"])
    orders = [in_order(np.arange(labels), seed, epoch) for epoch in range(EPOCHS)]
    np.save(work / "order.npy", np.array(orders, dtype=np.int32))
    same = ("--epochs", EPOCHS, "--batch-size", BATCH_SIZE, "--lr", LEARNING_RATE, "--momentum", MOMENTUM)
    same += ("--weight-decay", WEIGHT_DECAY, "--threads", 1, "--seed", seed, "--order", "order.npy")
    pytorch = commands.run(
        module("mest.demo.reference", "pytorch", "--run", "run", "--learn", learn, "--test", test, *same)
    ).result
    return {
        "scheme": scheme,
        "seed": seed,
        "before": native["accuracy_before"],
        "before_pytorch": pytorch["accuracy_before"],
        "native": native["accuracy_after"],
        "pytorch": pytorch["accuracy_after"],
        "zeros_kept": native["zeros_kept"],
        "steps": [native["steps"], pytorch["steps"]],
        "settings": {"training": " ".join(map(str, TRAINING)), "finetune": " ".join(map(str, words[4:-2]))},
        "circumstances": circumstances(),
    }


def table(records: list[dict[str, Any]]) -> str:
    """One row for each scheme: accuracies, how often both ends are equal, and their mean difference."""
    settings = records[0]["settings"]
    lines = [
        f"`mest train {settings['training']}`, exported, then `mest finetune {settings['finetune']}` on the digits as",
        "another sensor sees them, or the same in PyTorch on the same batches. Test accuracy in percent, mean ±",
        "standard deviation over (n) seeds; the difference is the mean over the seeds ± its standard error.",
        "",
    ]
    lines += ["| scheme | before | native engine | PyTorch | native − PyTorch, points | seeds that end equal |"]
    lines += ["|---|---|---|---|---|---|"]
    for scheme in sorted({record["scheme"] for record in records}):
        rows = [record for record in records if record["scheme"] == scheme]
        columns = [summary([100 * row[key] for row in rows]) for key in ("before", "native", "pytorch")]
        gaps = [100 * (row["native"] - row["pytorch"]) for row in rows]
        error = f" ± {stdev(gaps) / len(gaps) ** 0.5:.2f}" if len(gaps) > 1 else ""
        equal = sum(row["native"] == row["pytorch"] for row in rows)
        lines += [f"| {scheme} | {' | '.join(columns)} | {mean(gaps):+.2f}{error} | {equal} of {len(rows)} |"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
