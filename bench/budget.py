"""Fine-tuning resnet32, 90 % block sparse, within memory budgets: what is planned, what is measured, what it costs.

    python -m bench.budget --images DIR --out bench/records/budget     (about ten minutes on two quiet cores)
    python -m bench.budget --images DIR --run RUN                      (a network that you have trained)
    python -m bench.budget --images DIR --quick                        (fewer images: the road, not the figures)

DIR holds one folder of images per class, or such folders below train/ and test/. Every row is the real command in a
process of its own, one after the other: `mest finetune --engine native --mutate ems` under each budget with all layers
trained, the smallest budgets that work, plans that train fewer layers, and the same fine-tuning in onnxruntime-training
and in PyTorch (masked dense weights). Images are decoded from the folder while it trains. Without --run, a network is
trained first, as `bench.budget_train` does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import budget_train
from bench.budget_commands import Commands, Said, Smallest, smallest_budget
from bench.budget_images import SENSOR, Images, PerClass, make_images
from bench.budget_report import markdown, plan_words
from bench.budget_train import how_made, train
from bench.circumstances import circumstances

PACKAGES = ("numpy", "Pillow", "torch", "onnxruntime-training-cpu")
BUDGETS_MIB = (48, 64, 96, 160)
FEWER_LAYERS = (("last:8", "ems"), ("last:2", "ems"), ("bias", "none"))  # biases alone have no zeros to move
FEWER_LAYERS_MIB = 48
EMS = ("--mutate", "ems")
BATCH_SIZE, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 32, 0.02, 0.9, 1e-4

Pins = tuple[str, ...]


@dataclass(frozen=True)
class Size:
    """How much is done."""

    per_class: PerClass
    learn_epochs: int
    tune_epochs: int
    mutate_every: int


FULL = Size(budget_train.FULL, learn_epochs=8, tune_epochs=3, mutate_every=10)
QUICK = Size(PerClass(first=10, learn=20, tune=10, test=10), learn_epochs=1, tune_epochs=2, mutate_every=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of images, one folder per class")
    parser.add_argument("--run", type=Path, help="a run of mest train, instead of a short training")
    parser.add_argument("--model", default="resnet32", help="what is trained without --run")
    parser.add_argument("--budgets", nargs="*", type=float, default=BUDGETS_MIB, help="MiB")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--work", type=Path, help="folder to keep everything in (default: a temporary one)")
    parser.add_argument("--out", type=Path, help="folder for budget.json and table.md")
    args = parser.parse_args()
    if args.work is not None and args.work.exists():
        sys.exit(f"--work {args.work}: is there already; give a new folder")
    with tempfile.TemporaryDirectory(prefix="mest-budget-") as folder:
        work = args.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        record = Bench(args, QUICK if args.quick else FULL, work).record()
    text = markdown(record)
    print(text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "budget.json").write_text(json.dumps(record, indent=1) + "\n")
        (args.out / "table.md").write_text(text)


class Bench:
    """One run of the bench in a work folder."""

    def __init__(self, args: argparse.Namespace, size: Size, work: Path) -> None:
        self.args = args
        self.size = size
        self.work = work
        self.commands = Commands(args.threads)
        self.images: Images = make_images(args.images, work / "images", size.per_class, args.seed)
        self._states = 0

    def record(self) -> dict[str, Any]:
        """Everything, measured."""
        start, load = time.perf_counter(), os.getloadavg()[0]
        run = self.args.run or self.trained()
        artifact = self.work / "artifact"
        self.commands.must("export", run, "--out", artifact, "--force", "--mutate", "ems")
        original = self.commands.must("eval", artifact, "--data", self.images.test, *self.engine("native"))
        rows, smallest = self.measured(artifact, run)
        return {
            "circumstances": circumstances(PACKAGES),
            "threads": self.args.threads,
            "load": [load, os.getloadavg()[0]],
            "seconds": time.perf_counter() - start,
            "quick": self.args.quick,
            "network": {**described(run), "made": how_made(run), "accuracy": original["accuracy"]},
            "finetuning": self.settings(),
            "rows": rows,
            "smallest": smallest,
            "commands": [
                {"words": self.plain(said.words), "exit": said.code, "said": said.last, "seconds": said.seconds}
                for said in self.commands.said
            ],
        }

    def trained(self) -> Path:
        """A run trained for a few minutes."""
        out, images = self.work / "run", self.images
        train(
            self.commands, self.args.model, images.first, images.learn, self.size.learn_epochs, self.args.seed,
            self.work, out,
        )  # fmt: skip
        return out

    def measured(self, artifact: Path, run: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The rows of the table, and the smallest budgets."""
        every: Pins = ("--trainable", "all", *EMS)
        rows = [self.board(artifact, "native", "all", every, budget) for budget in self.args.budgets]
        rows.append(self.board(artifact, "native", "all", every, None))
        smallest = {}
        for name, pins in (("all layers trained", every), ("layers as the plan chooses", EMS)):
            found = self.smallest(artifact, pins)
            smallest[name] = {key: value for key, value in asdict(found).items() if key != "said"}
            if found.said is not None:
                rows.append(self.row("native", None, found.said, found.confirmed_mib))
        for trainable, mutate in FEWER_LAYERS:
            pins = ("--trainable", trainable, "--mutate", mutate)
            trained = trainable if mutate == "ems" else f"{trainable}, no mutation"
            rows.append(self.board(artifact, "native", trained, pins, FEWER_LAYERS_MIB))
        rows += [self.pytorch(run, layout) for layout in ("channels_last", "contiguous")]
        rows.append(self.board(artifact, "ort", "all", every, None))
        return rows, smallest

    def engine(self, name: str) -> tuple[object, ...]:
        """The engine's options."""
        return ("--engine", name, "--threads", self.args.threads)

    def finetune(self, artifact: Path, engine: str, pins: Pins, budget_mib: float | None) -> Said:
        """The command under measurement."""
        self._states += 1
        state = self.work / f"state-{self._states}"
        limit = () if budget_mib is None else ("--memory-budget", f"{budget_mib:g}MiB")
        said = self.commands.mest(
            "finetune", artifact, "--data", self.images.tune, "--eval-data", self.images.tune_test,
            *self.engine(engine), "--epochs", self.size.tune_epochs, "--batch-size", BATCH_SIZE,
            "--lr", LEARNING_RATE, "--lr-scheduler", "cosine", "--momentum", MOMENTUM, "--weight-decay", WEIGHT_DECAY,
            "--mutate-every", self.size.mutate_every, "--seed", self.args.seed,
            *pins, *limit, "--out", state,
        )  # fmt: skip
        shutil.rmtree(state, ignore_errors=True)
        return said

    def board(self, artifact: Path, engine: str, trained: str, pins: Pins, budget_mib: float | None) -> dict[str, Any]:
        """A row of `mest finetune`."""
        return self.row(engine, trained, self.finetune(artifact, engine, pins, budget_mib), budget_mib)

    def row(self, engine: str, trained: str | None, said: Said, budget_mib: float | None) -> dict[str, Any]:
        """A row of what `mest finetune` said; `trained` is None where the plan chose it."""
        row: dict[str, Any] = {"engine": engine, "budget_mib": budget_mib, "ok": said.code == 0, "exit": said.code}
        if said.code:
            return {**row, "trained": trained or "as planned", "said": self.plain((said.last,))[0]}
        result = {**said.result, "state": None}
        return {
            **row,
            "trained": trained or result["plan"]["trainable"],
            "plan": plan_words(result),
            "sample_ms": result["step_ms_median"] / BATCH_SIZE,
            **{key: result[key] for key in ("planned_peak_bytes", "measured_peak_bytes", "within_budget")},
            **{key: result[key] for key in ("accuracy_before", "accuracy_after")},
            "said": result,
        }

    def smallest(self, artifact: Path, pins: Pins) -> Smallest:
        """The smallest budget with these pins."""
        refusal = self.commands.mest(
            "plan", artifact, "--data", self.images.tune, *self.engine("native"), "--batch-size", BATCH_SIZE,
            *pins, "--memory-budget", "1MiB",
        )  # fmt: skip
        return smallest_budget(refusal, lambda budget: self.finetune(artifact, "native", pins, budget))

    def pytorch(self, run: Path, layout: str) -> dict[str, Any]:
        """A row of PyTorch."""
        settings = {
            "run": str(run), "tune": str(self.images.tune), "test": str(self.images.tune_test), "layout": layout,
            "epochs": self.size.tune_epochs, "batch_size": BATCH_SIZE, "lr": LEARNING_RATE, "momentum": MOMENTUM,
            "weight_decay": WEIGHT_DECAY, "mutate_every": self.size.mutate_every, "threads": self.args.threads,
            "seed": self.args.seed,
        }  # fmt: skip
        file = self.work / f"torch-{layout}.json"
        file.write_text(json.dumps(settings))
        said = self.commands.module("bench.budget_torch", file)
        row = {"engine": f"PyTorch {layout}", "trained": "all", "budget_mib": None, "ok": said.code == 0}
        if said.code:
            return {**row, "exit": said.code, "said": said.last}
        measured = ("measured_peak_bytes", "accuracy_before", "accuracy_after")
        return {
            **row,
            "exit": 0,
            "plan": "masked dense",
            "planned_peak_bytes": None,
            "sample_ms": said.result["step_ms_median"] / BATCH_SIZE,
            **{key: said.result[key] for key in measured},
            "said": said.result,
        }

    def settings(self) -> dict[str, Any]:
        """What every row's fine-tuning has in common."""
        classes = sum(entry.is_dir() for entry in self.images.tune.iterdir())
        return {
            "images": classes * self.size.per_class.tune,
            "test_images": classes * self.size.per_class.test,
            "sensor": SENSOR.describe().partition(", ")[2],  # it is not turned
            "epochs": self.size.tune_epochs,
            "batch_size": BATCH_SIZE,
            "lr": LEARNING_RATE,
            "mutate_every": self.size.mutate_every,
        }

    def plain(self, words: tuple[str, ...]) -> list[str]:
        """The words without this machine's folders."""
        places = {str(self.work): "WORK", str(self.args.images): "IMAGES", str(self.args.run): "RUN"}
        plain = list(words)
        for place, name in places.items():
            plain = [word.replace(place, name) for word in plain]
        return plain


def described(run: Path) -> dict[str, Any]:
    """Model and weight sparsity of a run's sparse layers."""
    found = json.loads((run / "run.json").read_text())
    weights = sum(layer["nonzeros"] / (1 - layer["sparsity"]) for layer in found["layers"])
    kept = sum(layer["nonzeros"] for layer in found["layers"])
    return {"model": found["model"]["name"], "sparsity": 1 - kept / weights}


if __name__ == "__main__":
    main()
