"""Fine-tuning without Python beside the others: mest-run, mest finetune, onnxruntime-training and PyTorch, in one run.

    python -m bench.runner_beside digits --out FILE                        (a minute)
    python -m bench.runner_beside resnet32 --images DIR --out FILE         (ten minutes on two quiet cores)
    python -m bench.runner_beside mobilenet_v2 --images DIR --out FILE     (96×96 pixels, batch 4)

DIR holds one folder of images per class, or such folders below train/ and test/. The network is trained for an epoch in
PyTorch and exported; then every row is the real program in a process of its own, on the same images, with EM&S, one
thread: `mest-run` as `mest runner` builds it, `mest finetune` with either engine, PyTorch on masked dense weights.
Whether the weights are those of `mest finetune`, to the bit, is told of a program that was built by the compiler of the
library behind Python; `mest-run` itself, of another compiler, ends as near as another processor.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.budget_commands import Commands
from bench.budget_images import PerClass, make_images
from bench.circumstances import circumstances
from bench.runner import FLOATS, HALVES, MIB, built, said
from edge.compiled.plan import read_plan
from edge.compiled.state import behind_marks, held
from edge.handover.state import read_state
from edge.libmest import plan_file
from edge.libmest.build import build_runner
from mest.packaged import DATA_SETS

LEARNING_RATE, MUTATE_EVERY = 0.02, 10


@dataclass(frozen=True)
class Network:
    """What is trained on the workstation, of how many images per class, and the rows: batch, recomputed, saved."""

    train: tuple[str, ...]
    per_class: PerClass
    epochs: int
    rows: tuple[tuple[int, str, str], ...]


NETWORKS = {
    "digits": Network(
        ("--data", "digits", "--model", "digits", "--scheme", "block", "--epochs", "5"),
        PerClass(0, 0, 0, 0),
        2,
        ((1, "none", FLOATS), (4, "none", FLOATS), (32, "blocks", FLOATS)),
    ),
    "resnet32": Network(
        ("--model", "resnet32", "--scheme", "block"),
        PerClass(first=60, learn=60, tune=120, test=60),
        3,
        ((1, "blocks", FLOATS), (4, "blocks", FLOATS), (32, "blocks", FLOATS), (32, "blocks", HALVES)),
    ),
    "mobilenet_v2": Network(
        ("--model", "torchvision:mobilenet_v2", "--image-size", "96", "--scheme", "irregular"),
        PerClass(first=8, learn=8, tune=16, test=8),
        1,
        ((4, "none", FLOATS), (4, "blocks", FLOATS)),
    ),
}


@dataclass(frozen=True)
class Ready:
    """Where what the rows need lies. `tune` and `test` are folders, or the data set that comes with the package."""

    work: Path
    run: Path
    artifact: Path
    tune: str
    test: str
    program: Path
    same_compiler: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--images", type=Path, help="folder of images, one folder per class")
    parser.add_argument("--program", type=Path, help="mest-run for this machine; default: built now")
    parser.add_argument("--out", type=Path, help="a JSON file for the record")
    args = parser.parse_args()
    if (args.network == "digits") != (args.images is None):
        parser.error("--images is for the networks that take photographs, and they need it")
    network = NETWORKS[args.network]
    with tempfile.TemporaryDirectory(prefix="mest-bench-") as name:
        ready = prepared(Path(name), network, args.images, args.program)
        rows = [row(ready, network.epochs, *which) for which in network.rows]
    record = {"circumstances": circumstances(("numpy", "torch", "onnxruntime-training-cpu")), "network": args.network}
    print(markdown(rows))
    if args.out:
        args.out.write_text(json.dumps({**record, "rows": rows}, indent=1) + "\n")


def prepared(work: Path, network: Network, images: Path | None, program: Path | None) -> Ready:
    """A run, its artifact, the images, and both programs."""
    commands, run, artifact = Commands(1), work / "run", work / "artifact"
    sets = ["--sparsity", "0.9", "--method", "ems", "--threads", "1", "--seed", "0", "--out", run]
    if images is None:
        tune = test = str(DATA_SETS["digits"])
        commands.must("train", *network.train, *sets)
    else:
        found = make_images(images, work / "images", network.per_class, 0)
        tune, test = str(found.tune), str(found.tune_test)
        commands.must("train", *network.train, "--data", f"imagefolder:{found.first}", "--epochs", 1, *sets)
    commands.must("export", run, "--out", artifact, "--mutate", "ems")
    same_compiler = work / "mest-run-same-compiler"
    build_runner(same_compiler)
    return Ready(work, run, artifact, tune, test, program or built(work / "mest-run"), same_compiler)


def row(ready: Ready, epochs: int, batch: int, recompute: str, saved: str) -> dict[str, Any]:
    """Four programs over the same samples; the first two on the same plan."""
    work = ready.work / f"row-{batch}-{recompute}-{saved}"
    work.mkdir()
    course = ["--epochs", epochs if batch == 32 else 1, "--lr", LEARNING_RATE * min(1, batch / 32), "--threads", 1]
    course += ["--batch-size", batch, "--mutate", "ems", "--mutate-every-steps", MUTATE_EVERY, "--seed", 0]
    pins = [*course, "--micro-batch", batch, "--recompute", recompute, "--trainable", "all", "--saved", saved]
    plan, packed, commands = work / "plan.mest", work / "samples.data", Commands(1)
    commands.must("compile", ready.artifact, "--data", ready.tune, *pins, "--out", plan)
    commands.must("pack", ready.tune, "--for", plan, "--out", packed)
    train = ["train", str(plan), "--data", str(packed), "--json", "--state"]
    found: dict[str, Any] = {"mest-run": said([str(ready.program), *train, str(work / "run.state")])}
    again = said([str(ready.same_compiler), *train, str(work / "same.state")])
    data = ("--data", ready.tune, "--out")
    found["mest finetune"] = commands.must(
        "finetune", ready.artifact, "--engine", "native", *pins, *data, work / "state"
    )
    found["onnxruntime-training"] = commands.must(
        "finetune", ready.artifact, "--engine", "ort", *course, *data, work / "ort_state"
    )
    found["PyTorch"] = pytorch(ready, work, commands, int(str(course[1])), batch)
    for one in found.values():
        one.pop("state", None)  # a path of this machine
    return {
        "batch_size": batch,
        "recompute": recompute,
        "saved": saved,
        "same_weights": same_weights(plan, work / "same.state", work / "state"),
        "accuracy_of_same_compiler": again["accuracy_after"],
        **found,
    }


def pytorch(ready: Ready, work: Path, commands: Commands, epochs: int, batch: int) -> dict[str, Any]:
    """The same fine-tuning in PyTorch."""
    lr = LEARNING_RATE * min(1, batch / 32)
    if Path(ready.tune).is_file():
        words: list[object] = ["--run", ready.run, "--learn", ready.tune, "--test", ready.test, "--epochs", epochs]
        words += ["--batch-size", batch, "--lr", lr, "--threads", 1, "--seed", 0]
        done = commands.module("mest.demo.reference", *words)
    else:
        settings = {
            "run": str(ready.run), "tune": ready.tune, "test": ready.test, "epochs": epochs, "batch_size": batch,
            "lr": lr, "momentum": 0.9, "weight_decay": 1e-4, "mutate_every": MUTATE_EVERY, "threads": 1, "seed": 0,
            "layout": "contiguous",
        }  # fmt: skip
        (work / "torch.json").write_text(json.dumps(settings))
        done = commands.module("bench.budget_torch", work / "torch.json")
    if done.code:
        sys.exit(f"PyTorch: {done.last}")
    return done.result


def same_weights(plan: Path, state: Path, python: Path) -> bool:
    """Whether values, gradients, optimizer and lists of a state of the program are those of Python's, bit for bit."""
    content, compiled = state.read_bytes(), read_plan(plan)
    found = held(compiled, state, behind_marks(compiled, plan_file.State.from_buffer_copy(content), content))
    wanted = read_state(python).tensors
    return all(array.tobytes() == wanted[name].tobytes() for name, array in found.items())


def markdown(rows: list[dict[str, Any]]) -> str:
    """A table: MiB planned and measured, milliseconds of a step, and accuracies, of each program."""
    lines = ["| batch | recomputed | saved | program | planned MiB | measured MiB | step ms | accuracy |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for one in rows:
        how = f"{one['batch_size']} | {one['recompute']} | {one['saved']}"
        for name in ("mest-run", "mest finetune", "onnxruntime-training", "PyTorch"):
            found = one[name]
            planned = f"{found['planned_peak_bytes'] / MIB:.2f}" if "planned_peak_bytes" in found else ""
            accuracy = f"{found['accuracy_before']:.1%} → {found['accuracy_after']:.1%}"
            measured = f"{found['measured_peak_bytes'] / MIB:.2f} | {found['step_ms_median']:.2f} | {accuracy}"
            lines.append(f"| {how} | {name} | {planned} | {measured} |")
        lines.append(f"| {how} | the same weights: {'yes' if one['same_weights'] else 'NO'} | | | | |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
