"""The budget bench's fine-tuning in PyTorch, in a process of its own: masked dense weights, EM&S, images in a stream.

`python -m bench.budget_torch SETTINGS.json` prints one JSON object. It does what the board does: the same optimizer and
schedule, mutation after as many steps, images decoded batch by batch, and no package loaded that it does not need.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from edge.host.counters import read_counters
from mest.data.preprocess import Preprocess
from mest.sparse import Sparsifier, Target, ems, parse_scheme
from mest.train.run import load_run

EVALUATION_BATCH = 32  # as small as a training batch, so that evaluation never sets the peak


@dataclass(frozen=True)
class Settings:
    """What the board does too. `layout` is contiguous or channels_last."""

    run: str
    tune: str
    test: str
    epochs: int
    batch_size: int
    lr: float
    momentum: float
    weight_decay: float
    mutate_every: int
    threads: int
    seed: int
    layout: str


class Folder:
    """Images of one folder per class, decoded when a batch asks for them."""

    def __init__(self, root: Path, preprocess: Preprocess, layout: torch.memory_format) -> None:
        classes = sorted(entry for entry in root.iterdir() if entry.is_dir())
        self.files = [(file, label) for label, entry in enumerate(classes) for file in sorted(entry.iterdir())]
        self._preprocess = preprocess
        self._layout = layout

    def __len__(self) -> int:
        return len(self.files)

    def read(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images `(n, c, h, w)` and labels `(n,)`."""
        pixels, labels = [], []
        for sample in samples.tolist():
            file, label = self.files[sample]
            with Image.open(file) as image:
                pixels.append(self._preprocess.pixels(image))
            labels.append(label)
        stacked = torch.from_numpy(np.stack(pixels).transpose(0, 3, 1, 2).copy())
        images = self._preprocess.normalise(stacked).contiguous(memory_format=self._layout)
        return images, torch.tensor(labels)

    def in_turn(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All samples once."""
        for piece in torch.arange(len(self)).split(EVALUATION_BATCH):
            yield self.read(piece)


def fine_tune(settings: Settings) -> dict[str, Any]:
    """Accuracies, times of a step and of its data, and resident memory in bytes."""
    baseline = read_counters().resident
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    layout = getattr(torch, "contiguous_format" if settings.layout == "contiguous" else settings.layout)
    run = load_run(settings.run)
    preprocess = Preprocess.from_dict(run.preprocess)
    model: torch.nn.Module = run.model.to(memory_format=layout)  # type: ignore[call-overload]
    tune, test = (Folder(Path(root), preprocess, layout) for root in (settings.tune, settings.test))
    before = accuracy(model, test)
    per_epoch = math.ceil(len(tune) / settings.batch_size)
    total = per_epoch * settings.epochs
    optimizer = torch.optim.SGD(
        model.parameters(), settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    targets = {
        layer["name"]: Target(layer["name"], layer["target_sparsity"], parse_scheme(layer["scheme"]))
        for layer in run.layers
    }
    # The sparsifier counts epochs; counting steps instead is what the board does.
    schedule = ems(total, update_every_epochs=settings.mutate_every)
    sparsifier = Sparsifier(model, targets, schedule, seed=settings.seed).attach(optimizer)
    step_ms: list[float] = []
    data_ms: list[float] = []
    mutations = 0
    model.train()
    for _ in range(settings.epochs):
        for batch in torch.randperm(len(tune)).split(settings.batch_size):
            mutations += sparsifier.start_epoch(len(step_ms)) is not None
            for group in optimizer.param_groups:
                group["lr"] = settings.lr * (1 + math.cos(math.pi * len(step_ms) / total)) / 2
            start = time.perf_counter()
            images, labels = tune.read(batch)
            read = time.perf_counter()
            loss = functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step_ms.append(1e3 * (time.perf_counter() - read))
            data_ms.append(1e3 * (read - start))
    sparsifier.finish()
    return {
        "accuracy_before": before,
        "accuracy_after": accuracy(model, test),
        "step_ms_median": median(step_ms),
        "data_ms_median": median(data_ms),
        "steps": len(step_ms),
        "mutations": mutations,
        "zeros_kept": sparsifier.zeros_kept,
        "sparsity": sparsifier.sparsity,
        "baseline_bytes": baseline,
        "measured_peak_bytes": read_counters().peak,
    }


def accuracy(model: torch.nn.Module, data: Folder) -> float:
    """The share of the samples classified correctly, in evaluation mode."""
    training = model.training
    model.eval()
    with torch.no_grad():
        hits = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in data.in_turn())
    model.train(training)
    return hits / len(data)


if __name__ == "__main__":
    print(json.dumps(fine_tune(Settings(**json.loads(Path(sys.argv[1]).read_text())))))
