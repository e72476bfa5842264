"""Fine-tuning with Python and without: what `mest finetune` and `mest-run` hold, planned and as the kernel counts it.

    python -m bench.runner                                (resnet32, 90 % of its weights gone in blocks: two minutes)
    python -m bench.runner --mutate none                  (with fixed masks; else EM&S mutates every ten steps)
    python -m bench.runner --artifact ART --data DATA     (an artifact and data of your own)
    python -m bench.runner --program FILE                 (mest-run as 'mest runner' built it, not anew)

Every row is the two real programs on the same plan and data, each in a process of its own: whole batches of a size,
with the blocks recomputed or not, what waits for the backward pass in floats or in bfloat16, one thread, one epoch.
They run in turns, `--rounds` times; peaks are the largest of all rounds, the step is the median of the rounds' medians.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.circumstances import circumstances
from bench.step_network import residual_network
from edge.handover.manifest import Manifest, write_manifest
from edge.libmest.targets import build_for
from edge.network import write_network
from edge.plan.choices import OptimizerChoice

FLOATS, HALVES = "float32", "bfloat16"
ROWS = tuple((batch, recompute, FLOATS) for batch in (1, 4) for recompute in ("none", "blocks"))
ROWS += ((32, "blocks", FLOATS), (32, "blocks", HALVES))
SAMPLES = 640
MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifact", type=Path, help="default: resnet32 with random weights and masks")
    parser.add_argument("--data", help="default: random images")
    parser.add_argument("--mutate", choices=("none", "em", "ems"), default="ems")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--program", type=Path, help="mest-run for this machine; default: built now")
    parser.add_argument("--out", type=Path, help="a JSON file for the record")
    args = parser.parse_args()
    if (args.artifact is None) != (args.data is None):
        parser.error("--artifact and --data belong together")
    with tempfile.TemporaryDirectory(prefix="mest-bench-") as name:
        work = Path(name)
        program = args.program or built(work / "mest-run")
        artifact, data = (args.artifact, args.data) if args.artifact else example(work)
        rows = [
            row(work / f"row{number}", program, artifact, data, args.mutate, *which, rounds=args.rounds)
            for number, which in enumerate(ROWS)
        ]
    record = {"circumstances": circumstances(("numpy",)), "mutate": args.mutate, "rounds": args.rounds, "rows": rows}
    columns = ("batch", "recomputed", "saved", "mest-run planned", "measured", "mest finetune planned", "measured")
    print(f"| {' | '.join((*columns, 'of it', 'step, mest-run', 'step, mest finetune'))} |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for one in rows:
        ours, python = one["mest-run"], one["mest finetune"]
        share = ours["measured_peak_bytes"] / python["measured_peak_bytes"]
        how = f"{one['batch_size']} | {one['recompute']} | {one['saved']}"
        steps = " | ".join(f"{one['step_ms_median']:.1f} ms" for one in (ours, python))
        print(f"| {how} | {sizes(ours)} | {sizes(python)} | {share:.0%} | {steps} |")
    if args.out:
        args.out.write_text(json.dumps(record, indent=1) + "\n")


def built(path: Path) -> Path:
    """The program for this machine, as users have it."""
    build_for("linux-x86_64", path)
    return path


def example(work: Path) -> tuple[Path, str]:
    """resnet32 as an artifact, and random images for it."""
    network, folder = residual_network("block", 0.9), work / "artifact"
    folder.mkdir()
    write_network(network, folder)
    names = tuple(map(str, range(network.classes)))
    preprocess = {"mode": "RGB", "resize": None, "crop": None, "interpolation": "bilinear"}
    write_manifest(
        Manifest(
            {},
            network.input,
            {**preprocess, "mean": [0.5] * 3, "std": [0.25] * 3},
            names,
            asdict(OptimizerChoice()),
        ),
        folder,
    )
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (SAMPLES, 32, 32, 3), dtype=np.uint8)
    np.savez(work / "images.npz", images=images, labels=np.arange(SAMPLES) % network.classes)
    return folder, str(work / "images.npz")


def row(
    work: Path,
    program: Path,
    artifact: Path,
    data: str,
    mutate: str,
    batch: int,
    recompute: str,
    saved: str,
    rounds: int,
) -> dict[str, Any]:
    """Both programs on one plan; that their weights are the same is for the tests."""
    work.mkdir()
    pins = ["--batch-size", str(batch), "--micro-batch", str(batch), "--recompute", recompute, "--threads", "1"]
    pins += ["--epochs", "1", "--lr", "0.001", "--trainable", "all", "--saved", saved]
    pins += ["--mutate", mutate, *(["--mutate-every-steps", "10"] if mutate != "none" else [])]
    plan, packed = work / "plan.mest", work / "samples.data"
    mest("compile", artifact, "--data", data, *pins, "--out", plan)
    mest("pack", data, "--for", plan, "--out", packed)
    ours, python = [], []
    for number in range(rounds):
        state = str(work / f"{number}.state")
        ours.append(said([str(program), "train", str(plan), "--data", str(packed), "--state", state, "--json"]))
        python.append(
            mest("finetune", artifact, "--data", data, "--engine", "native", *pins, "--out", work / f"{number}")
        )
    shutil.rmtree(work)
    both = {"mest-run": of_rounds(ours), "mest finetune": of_rounds(python)}
    return {"batch_size": batch, "recompute": recompute, "saved": saved, **both}


def of_rounds(found: list[dict[str, Any]]) -> dict[str, Any]:
    """What the last round said, with the largest peak and the median step of all."""
    one = {name: value for name, value in found[-1].items() if name != "state"}  # a path of this machine
    one["measured_peak_bytes"] = max(each["measured_peak_bytes"] for each in found)
    one["step_ms_median"] = median(each["step_ms_median"] for each in found)
    return one


def mest(*words: object) -> dict[str, Any]:
    """What a command of mest prints."""
    return said([sys.executable, "-m", "mest", *map(str, words), "--json"])


def said(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def sizes(found: dict[str, Any]) -> str:
    """Planned and measured, in mebibytes."""
    return f"{found['planned_peak_bytes'] / MIB:.2f} | {found['measured_peak_bytes'] / MIB:.2f}"


if __name__ == "__main__":
    main()
