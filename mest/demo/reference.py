"""The same fine-tuning in PyTorch, in a process of its own: masked dense weights, measured by the kernel.

`python -m mest.demo.reference --run RUN --learn NPZ --test NPZ …` prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mest.data.preprocess import Preprocess
from mest.demo.task import FineTuning
from mest.errors import InputError
from mest.train.run import LoadedRun, load_run

EVALUATION_BATCH = 32  # as small as a training batch, so that evaluation never sets the peak


def resident_bytes(line: str) -> int:
    """Bytes of a line of /proc/self/status, VmRSS or VmHWM; raises InputError on a system without it."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        raise InputError("this system has no /proc/self/status, so memory cannot be compared; use Linux") from None
    return next(int(entry.split()[1]) * 1024 for entry in status.splitlines() if entry.startswith(line))


def fine_tune(settings: FineTuning) -> dict[str, Any]:
    """Fine-tune a run's best checkpoint and return accuracy, time per step and resident memory in bytes."""
    baseline = resident_bytes("VmRSS:")
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    run = load_run(settings.run)
    entries, labels = _read(Path(settings.learn))
    held, held_labels = _read(Path(settings.test))
    before = accuracy(run, held, held_labels)
    steps = _train(run, entries, labels, settings)
    kept = all(bool((weight[~run.masks[name]] == 0).all()) for name, weight in _sparse(run))
    return {
        "accuracy_before": before,
        "accuracy_after": accuracy(run, held, held_labels),
        "step_ms_median": statistics.median(steps) * 1000,
        "steps": len(steps),
        "zeros_kept": kept,
        "baseline_bytes": baseline,
        "measured_peak_bytes": resident_bytes("VmHWM:"),
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
    }


def _read(path: Path) -> tuple[Tensor, Tensor]:
    """Pixels uint8 `(n, 1, h, w)`, or windows of numbers as the file has them, and labels of an npz file."""
    with np.load(path, allow_pickle=False) as data:
        entries = data["images"][:, None] if "images" in data.files else data["inputs"]
        return torch.from_numpy(entries), torch.from_numpy(data["labels"].astype(np.int64))


def _sparse(run: LoadedRun) -> list[tuple[str, Tensor]]:
    return [(name, weight) for name, weight in run.model.named_parameters() if name in run.masks]


def _train(run: LoadedRun, entries: Tensor, labels: Tensor, settings: FineTuning) -> list[float]:
    """Train in place and return the seconds of each step."""
    model, preprocess = run.model, Preprocess.from_dict(run.preprocess)
    optimizer = torch.optim.SGD(
        model.parameters(), settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    per_epoch = math.ceil(len(labels) / settings.batch_size)
    seconds: list[float] = []
    sparse = _sparse(run)
    model.train()
    for order in _orders(len(labels), settings):
        for batch in order.split(settings.batch_size):
            start = time.perf_counter()
            progress = len(seconds) / (per_epoch * settings.epochs)
            for group in optimizer.param_groups:
                group["lr"] = settings.lr * (1 + math.cos(math.pi * progress)) / 2
            loss = functional.cross_entropy(model(preprocess.normalise(entries[batch])), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for name, weight in sparse:
                    weight *= run.masks[name]
            seconds.append(time.perf_counter() - start)
    return seconds


def _orders(count: int, settings: FineTuning) -> Iterable[Tensor]:
    """The sample numbers of each epoch, `(n,)`, in the order of their batches."""
    if settings.order is None:
        return (torch.randperm(count) for _ in range(settings.epochs))
    return torch.from_numpy(np.load(settings.order).astype(np.int64))


def accuracy(run: LoadedRun, entries: Tensor, labels: Tensor) -> float:
    """Return the share of samples classified correctly, in evaluation mode."""
    preprocess = Preprocess.from_dict(run.preprocess)
    run.model.eval()
    with torch.no_grad():
        hits = [
            int((run.model(preprocess.normalise(piece)).argmax(1) == truth).sum())
            for piece, truth in zip(entries.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True)
        ]
    return sum(hits) / len(labels)


def main() -> None:
    """Fine-tune as the options say; each is a field of FineTuning."""
    parser = argparse.ArgumentParser(prog="python -m mest.demo.reference", description=__doc__.splitlines()[0])
    for one in fields(FineTuning):
        required = one.default is MISSING
        kind = {"int": int, "float": float}.get(str(one.type), str)
        default = None if required else one.default
        name = f"--{one.name.replace('_', '-')}"
        parser.add_argument(name, type=kind, required=required, default=default)
    sys.stdout.write(json.dumps(fine_tune(FineTuning(**vars(parser.parse_args())))) + "\n")


if __name__ == "__main__":
    main()
