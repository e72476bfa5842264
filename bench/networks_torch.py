"""One step cell of bench.networks: PyTorch on masked dense weights, in its own process. Prints JSON."""

from __future__ import annotations

import json
import sys

import torch
from torch import nn

from bench.agreement import make_source
from bench.networks_prepare import SCHEME
from bench.step_cell import timed
from edge.host.counters import read_counters, reset_peak


def main() -> None:
    asked = json.loads(sys.argv[1])
    torch.set_num_threads(asked["threads"])
    source = make_source(asked["model"], SCHEME, asked["sparsity"], tuple(asked["image"]), asked["classes"])
    assert source is not None
    layout = torch.channels_last if asked["engine"] == "torch-last" else torch.contiguous_format
    model = source.model.to(memory_format=layout).train()
    parameters = dict(model.named_parameters())
    masks = {parameters[path]: torch.from_numpy(layer.mask) for path, layer in source.layers.items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9, weight_decay=1e-4)
    images = torch.randn(asked["batch"], *asked["image"]).to(memory_format=layout)
    labels = torch.randint(0, asked["classes"], (asked["batch"],))

    def step() -> None:
        optimizer.zero_grad()
        outputs = model(images)
        logits = outputs if isinstance(outputs, torch.Tensor) else outputs[0]
        nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()
        with torch.no_grad():
            for weight, mask in masks.items():
                weight.mul_(mask)

    reset_peak()  # what pruning took at its peak is no part of a step
    print(json.dumps({**timed(step, asked["steps"], 8, 2.0), "peak_bytes": read_counters().peak}))


if __name__ == "__main__":
    main()
