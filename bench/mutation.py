"""What sparsity costs in training: one mutation, and the upkeep of masks in every step, against the dense step.

Prints medians over interleaved rounds and their ratio to the dense step of the same model, batch and machine:
python -m bench.mutation [--model resnet32] [--batch-size 64] [--rounds 15] [--threads N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from bench.circumstances import circumstances, spread
from mest import sparsify
from mest.models import ModelSpec, build_model
from mest.sparse import Sparsifier

CLASSES, IMAGE = 10, (3, 32, 32)
#: mutation every 5 epochs of 50,000 images in batches of 64, as published
STEPS_BETWEEN_MUTATIONS = 5 * 782


def timed_ms(action: Callable[[], object], device: torch.device) -> float:
    """Milliseconds that an action takes, with everything it queued on the device."""
    wait(device)
    start = time.perf_counter()
    action()
    wait(device)
    return 1e3 * (time.perf_counter() - start)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Run:
    """A model with its optimizer, sparse or not."""

    def __init__(self, name: str, device: torch.device, batch_size: int, **options: Any) -> None:
        self.device = device
        self.model = build_model(ModelSpec(name, CLASSES, IMAGE), seed=0).to(device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(batch_size, *IMAGE, generator=generator).to(device)
        self.labels = torch.randint(0, CLASSES, (batch_size,), generator=generator).to(device)
        self.sparsifier: Sparsifier | None = None
        if options:
            self.sparsifier = sparsify(self.model, self.optimizer, sparsity=0.9, epochs=10**6, **options)

    def step(self) -> None:
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.model(self.images), self.labels).backward()
        self.optimizer.step()

    def update_ms(self) -> float:
        """Milliseconds of what upkeep is part of: gradients that reach the parameters, and the optimizer's step."""
        parameters = list(self.model.parameters())
        gradients = [torch.full_like(parameter, 1e-6) for parameter in parameters]
        self.optimizer.zero_grad()

        def update() -> None:
            torch.autograd.backward(parameters, gradients)
            self.optimizer.step()

        return timed_ms(update, self.device)


def measure(name: str, scheme: str, gradient_weight: float, dense: Run, rounds: int, batch: int) -> dict[str, Any]:
    """Times of one scheme, its rounds interleaved with the dense run's, so that other load hits both alike."""
    options = {"scheme": scheme, "method": "em", "update_every_epochs": 1, "gradient_weight": gradient_weight}
    sparse = Run(name, dense.device, batch, **options)
    assert sparse.sparsifier is not None
    step_ms, mutation_ms, upkeep_ms = [], [], []
    for epoch in range(rounds + 1):
        times = (
            timed_ms(dense.step, dense.device),
            timed_ms(lambda: sparse.sparsifier.start_epoch(epoch), dense.device),  # type: ignore[union-attr]  # noqa: B023
        )
        sparse.step()
        update = [(sparse.update_ms(), dense.update_ms()) for _ in range(10)]
        if epoch:  # the first round warms caches and allocates state
            step_ms.append(times[0])
            mutation_ms.append(times[1])
            upkeep_ms.append(median(first - second for first, second in update))
    step, mutation, upkeep = median(step_ms), median(mutation_ms), median(upkeep_ms)
    return {
        "scheme": scheme,
        "gradient_weight": gradient_weight,
        "dense_step_ms": spread(step_ms),
        "mutation_ms": spread(mutation_ms),
        "upkeep_ms": spread(upkeep_ms),
        "mutation_to_step": mutation / step,
        "mutation_per_step_to_step": mutation / step / STEPS_BETWEEN_MUTATIONS,
        "upkeep_to_step": upkeep / step,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet32")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    dense = Run(options.model, device, options.batch_size)
    facts = {**circumstances(), "device": str(device), "threads": options.threads, "rounds": options.rounds}
    facts |= {"model": options.model, "batch_size": options.batch_size, "sparsity": 0.9}
    if device.type == "cuda":
        facts["accelerator"] = torch.cuda.get_device_name(device)
    print(json.dumps(facts, indent=1), file=sys.stderr)
    rows = []
    print("scheme     λ     dense step   mutation            upkeep of a step")
    for scheme in ("irregular", "block", "pattern", "channel"):
        for gradient_weight in (0.0, 0.01):
            row = measure(options.model, scheme, gradient_weight, dense, options.rounds, options.batch_size)
            rows.append(row)
            print(
                f"{scheme:10} {gradient_weight:<5} {row['dense_step_ms']['median']:7.1f} ms"
                f" {row['mutation_ms']['median']:7.1f} ms = {row['mutation_to_step']:6.2%}"
                f" {row['upkeep_ms']['median']:7.2f} ms = {row['upkeep_to_step']:6.2%}"
            )
    worst = max(row["mutation_per_step_to_step"] for row in rows)
    print(f"spread over the {STEPS_BETWEEN_MUTATIONS} steps between two mutations: {worst:.5%} of a step at most")
    if options.json:
        options.json.write_text(json.dumps({"circumstances": facts, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
