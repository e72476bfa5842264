"""Accuracy of every method, scheme and sparsity on a folder of images or the digits, and of training on less data.

    python -m bench.accuracy --preset digits --out bench/records/digits
    python -m bench.accuracy --preset cifar-short --data imagefolder:DIR --out bench/records/cifar-short --remove 0.2
    python -m bench.accuracy --out bench/records/digits --report       (tables and picture again, from the records)

Each finished run is one line of `records.jsonl` in the output folder; `table.md` and `accuracy.png` are made from
these lines alone. Started again, the bench goes on where it stopped, within a run too (`--work` holds the runs
meanwhile); several processes with the same folders share the work, also on one GPU. `--minutes` ends it in time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.accuracy_grid import METHODS, PRESETS, SCHEMES, Cell, Preset, grid, train_options, without_place
from bench.accuracy_records import Records
from bench.accuracy_report import markdown, picture
from bench.circumstances import circumstances
from mest.data.loader import Share, epoch_batches
from mest.train.observer import Observer
from mest.train.process import choose_device
from mest.train.recipe import build_config, build_execution
from mest.train.run import checkpoint_path
from mest.train.trainer import train

KEPT_OF_EPOCHS = ("train_loss", "train_accuracy", "weight_sparsity", "samples", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="digits")
    parser.add_argument("--data", help="imagefolder:DIR or another data set of mest train, instead of the preset's")
    parser.add_argument("--out", type=Path, required=True, help="folder of the records, the table and the picture")
    parser.add_argument("--work", type=Path, help="folder of the runs themselves (default runs/accuracy/OUT)")
    parser.add_argument("--methods", nargs="+", choices=METHODS)
    parser.add_argument("--schemes", nargs="+", choices=SCHEMES)
    parser.add_argument("--sparsities", nargs="+", type=float)
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument(
        "--remove", nargs="+", type=float, default=[], help="fractions of the data that EM&S goes without"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1, help="threads of this process; start several to share cores")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--amp", action="store_true")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop, resumably, after so long")
    parser.add_argument("--report", action="store_true", help="only make table and picture from the records")
    args = parser.parse_args()
    preset = PRESETS[args.preset]
    records = Records(args.out, args.work or Path("runs", "accuracy", args.out.name))
    if not args.report:
        cells = grid(
            preset,
            args.methods or preset.methods,
            args.schemes or preset.schemes,
            args.sparsities or preset.sparsities,
            args.seeds or preset.seeds,
            args.remove,
        )
        carrying_out = {"device": args.device, "threads": str(args.threads), "workers": str(args.workers)}
        amp = {"amp": "true"} if args.amp else {}
        work_off(cells, preset, records, args.data, carrying_out, amp, time.monotonic() + 60 * args.minutes)
    report(records, args.out, preset)


def work_off(
    cells: list[Cell],
    preset: Preset,
    records: Records,
    data: str | None,
    carrying_out: dict[str, str],
    amp: dict[str, str],
    end: float,
) -> None:
    """Run every cell that has no record and that no other process is at, until `end` (monotonic seconds)."""
    facts = circumstances()
    chosen = choose_device(carrying_out["device"])
    device = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else "cpu"
    for cell in cells:
        options = train_options(preset, cell, data) | amp
        with records.claim(cell) as mine:
            done = records.read().get(cell.name)
            if done is not None and done["options"] != without_place(options):
                raise SystemExit(f"{records.file}: {cell.name} was run with other options; give another --out")
            if not mine or done is not None:
                continue
            print(f"{cell.name} ...", flush=True)
            result = run_cell(options, carrying_out, records.work / cell.name, lambda: time.monotonic() > end)
            if result is None:
                print("out of time; start again to go on", flush=True)
                return
            records.append(cell, without_place(options), result | {"device": device}, facts)
            print(f"{cell.name}: {100 * result['accuracy']:.2f} % in {result['train_seconds']:.0f} s", flush=True)


def run_cell(
    options: dict[str, str], carrying_out: dict[str, str], out: Path, stop: Callable[[], bool]
) -> dict[str, Any] | None:
    """What one training run came to, begun or continued in `out`; None if it had to stop."""
    last = checkpoint_path(out, "last")
    if out.exists() and not last.is_file():
        shutil.rmtree(out)  # ended before its first checkpoint
    execution = build_execution(options | carrying_out, out, last if last.is_file() else None)
    began = processor_seconds()
    outcome = train(build_config(options), execution, options, Observer(stop=stop))
    if outcome.stopped or outcome.summary is None:
        return None
    in_one_go = execution.resume is None
    return result_of(out, outcome.summary) | {"cpu_seconds": processor_seconds() - began if in_one_go else None}


def processor_seconds() -> float:
    """Processor time of this process and of the workers that it has waited for."""
    return sum(os.times()[:4])


def result_of(run: Path, summary: dict[str, Any]) -> dict[str, Any]:
    """What a record keeps of a finished run: its result, its summary, and how every epoch went."""
    epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    batch_size = json.loads((run / "run.json").read_text())["config"]["optimizer"]["batch_size"]
    return {
        "accuracy": summary["accuracy_last"],
        "steps": sum(len(epoch_batches(np.arange(epoch["samples"]), batch_size, 0, 0, Share())) for epoch in epochs),
        "train_seconds": sum(epoch["seconds"] for epoch in epochs),
        "summary": {key: value for key, value in summary.items() if key != "run"},
        "epochs": {key: [epoch[key] for epoch in epochs] for key in KEPT_OF_EPOCHS},
    }


def report(records: Records, out: Path, preset: Preset) -> None:
    """Write `table.md` and `accuracy.png` from the records, and print the table."""
    found = list(records.read().values())
    if not found:
        raise SystemExit(f"{records.file}: no records yet")
    text = markdown(found, preset.about)
    (out / "table.md").write_text(text)
    picture(found, out / "accuracy.png", preset.about)
    print(text)


if __name__ == "__main__":
    main()
