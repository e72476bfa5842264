"""The network that bench.scale grows, as an artifact or as PyTorch trains it, in a process of its own."""

from __future__ import annotations

import json
import sys

import torch
from torch import nn
from torchvision.models import mobilenet_v2

import mest
from bench.step_cell import samples, timed
from edge.host.counters import read_counters

SCHEME, SPARSITY = "irregular", 0.8


def main() -> None:
    """Arguments: a point as JSON and, for an artifact, the folder to write. Without one: a step and an evaluation."""
    point = json.loads(sys.argv[1])
    torch.manual_seed(0)
    torch.set_num_threads(point["threads"])
    model = mobilenet_v2(weights=None, width_mult=point["width"], num_classes=point["classes"], dropout=0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9, weight_decay=1e-4)
    sparsifier = mest.sparsify(model, optimizer, sparsity=SPARSITY, scheme=SCHEME, method="static", epochs=1)
    image = (3, point["size"], point["size"])
    if len(sys.argv) > 2:
        import export

        export.export_model(
            model,
            sys.argv[2],
            example_input=image,
            sparsifier=sparsifier,
            optimizer=optimizer,
            preprocess={"mean": [0.5] * 3, "std": [0.25] * 3},
        )
        print(json.dumps({"peak_bytes": read_counters().peak}))
        return
    arrays = samples(point["batch"], image, point["classes"])
    images, labels = (torch.from_numpy(array) for array in arrays)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    def answers() -> None:
        with torch.no_grad():
            model(images)

    model.train()
    trained = timed(step, 0, 5, 2.0)
    peak = read_counters().peak
    model.eval()
    answered = timed(answers, 0, 5, 1.0)
    print(json.dumps({"step": trained["cpu_ms"], "peak_bytes": peak, "answers": answered["cpu_ms"]}))


if __name__ == "__main__":
    main()
