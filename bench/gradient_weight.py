"""Which λ of the score |w| + λ·|gradient| trains best: accuracy on digits by λ, mean and spread over seeds.

python -m bench.gradient_weight [--epochs 10] [--seeds 3] [--schemes irregular block] [--methods em] [--json FILE]
The validation split chooses (never the test set): a fifth of the training images is held out of training.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.circumstances import circumstances
from mest import sparsify
from mest.data import DataSpec, open_data, split_validation
from mest.models import ModelSpec, build_model

BATCH, RATE = 64, 0.1


def digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Training and validation images `(n, 1, 8, 8)` with their labels."""
    data = open_data(DataSpec("digits"))
    parts = split_validation(data.train.labels, 0.2, 0)
    return tuple((_images(data.train.pixels(part)), torch.as_tensor(data.train.labels[part])) for part in parts)  # type: ignore[return-value]


def _images(pixels: np.ndarray) -> Tensor:
    images = torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32)) / 255
    return (images - 0.3) / 0.35


def accuracy(options: dict[str, Any], epochs: int, seed: int, data: tuple[tuple[Tensor, Tensor], ...]) -> float:
    """Validation accuracy after the last epoch, by the paper's recipe shortened: a mutation before every epoch."""
    (images, labels), (held_images, held_labels) = data
    model = build_model(ModelSpec("digits", 10, (1, 8, 8)), seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, weight_decay=1e-4)
    sparsifier = sparsify(model, optimizer, epochs=epochs, update_every_epochs=1, seed=seed, **options)
    generator = torch.Generator().manual_seed(seed)
    steps, step = epochs * (len(images) // BATCH), 0
    for epoch in range(epochs):
        sparsifier.start_epoch(epoch)
        model.train()
        for batch in torch.randperm(len(images), generator=generator)[: steps // epochs * BATCH].split(BATCH):
            for group in optimizer.param_groups:
                group["lr"] = RATE / 2 * (1 + math.cos(math.pi * step / steps))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            step += 1
    sparsifier.finish()
    model.eval()
    with torch.no_grad():
        return float((model(held_images).argmax(1) == held_labels).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sparsity", type=float, default=0.95)
    parser.add_argument("--schemes", nargs="+", default=["irregular", "block"])
    parser.add_argument("--methods", nargs="+", default=["em"])
    parser.add_argument("--gradient-weights", type=float, nargs="+", default=[0.0, 0.01, 0.1, 1.0, 10.0, 100.0])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data = digits()
    facts = {**circumstances(), **{key: value for key, value in vars(options).items() if key != "json"}}
    print(json.dumps(facts, indent=1), file=sys.stderr)
    rows = []
    print("method scheme      λ      accuracy over seeds: mean ± standard deviation")
    for method in options.methods:
        for scheme in options.schemes:
            for weight in options.gradient_weights:
                chosen = {"method": method, "scheme": scheme, "sparsity": options.sparsity, "gradient_weight": weight}
                results = [accuracy(chosen, options.epochs, seed, data) for seed in range(options.seeds)]
                rows.append({**chosen, "accuracy": results})
                spread = stdev(results) if len(results) > 1 else 0.0
                print(f"{method:6} {scheme:10} {weight:6g}   {mean(results):6.2%} ± {spread:.2%}", flush=True)
    for weight in options.gradient_weights:
        results = [value for row in rows if row["gradient_weight"] == weight for value in row["accuracy"]]
        print(f"all               {weight:6g}   {mean(results):6.2%}")
    if options.json:
        options.json.write_text(json.dumps({"circumstances": facts, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
