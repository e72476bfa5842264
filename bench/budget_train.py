"""The network of the budget bench: trained sparse from the first step within minutes, most of it in the native engine.

    python -m bench.budget_train --images DIR --out RUN --learn 2000 --epochs 5

One short epoch in PyTorch makes a run and its artifact; the native engine trains that, EM&S and all; export brings the
state back as a run. The images are others than those that `bench.budget` with the same seed fine-tunes and tests on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.budget_commands import Commands
from bench.budget_images import PerClass, make_images

BATCH_SIZE, LEARNING_RATE, WARMUP, MUTATE_EVERY = 32, 0.1, 0.05, 100
FULL = PerClass(first=60, learn=800, tune=100, test=100)
FACTS = "bench.json"  # beside run.json: how the run was made, in words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of images, one folder per class")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN")
    parser.add_argument("--model", default="resnet32")
    parser.add_argument("--learn", type=int, default=FULL.learn, help="images of each class")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mest-budget-") as folder:
        work = Path(folder)
        images = make_images(args.images, work / "images", replace(FULL, learn=args.learn), args.seed)
        commands = Commands(args.threads)
        train(commands, args.model, images.first, images.learn, args.epochs, args.seed, work, args.out)


def train(
    commands: Commands, model: str, first: Path, learn: Path, epochs: int, seed: int, work: Path, out: Path
) -> None:
    """Write the run `out`; what comes between goes into `work`. Exits where a command fails."""
    threads = ("--threads", commands.threads)
    commands.must(
        "train", "--model", model, "--data", f"imagefolder:{first}", "--scheme", "block", "--sparsity", 0.9,
        "--method", "ems", "--epochs", 1, "--batch-size", BATCH_SIZE, "--lr", LEARNING_RATE / 5, *threads,
        "--validation-fraction", 0, "--seed", seed, "--out", work / "first",
    )  # fmt: skip
    commands.must("export", work / "first", "--out", work / "first_artifact", "--mutate", "ems")
    done = commands.must(
        "finetune", work / "first_artifact", "--data", learn, "--hold-out", 0, "--engine", "native", *threads,
        "--epochs", epochs, "--batch-size", BATCH_SIZE, "--lr", LEARNING_RATE, "--warmup", WARMUP,
        "--augment", "crop-flip", "--mutate", "ems", "--mutate-every", MUTATE_EVERY, "--save-every", 1000,
        "--seed", seed, "--out", work / "first_state",
    )  # fmt: skip
    commands.must("export", work / "first_state", "--out", out, "--original", work / "first")
    made = f"trained for {epochs} epochs of {done['samples_train']} images, EM&S, in the native engine"
    (out / FACTS).write_text(json.dumps({"made": made, "step_ms_median": done["step_ms_median"]}) + "\n")


def how_made(run: Path) -> str:
    """How a run was made, in words; of one that this bench did not make it knows nothing."""
    facts = run / FACTS
    return str(json.loads(facts.read_text())["made"]) if facts.is_file() else "a given run"


if __name__ == "__main__":
    main()
