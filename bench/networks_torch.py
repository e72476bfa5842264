"""One step cell of bench.networks: PyTorch on masked dense weights, in its own process. Prints JSON."""

from __future__ import annotations

import json
import sys

import torch

from bench.agreement import make_source
from bench.networks_prepare import SCHEME
from bench.step_cell import timed
from edge.host.counters import read_counters, reset_peak
from mest.tasks.registry import TASKS


def main() -> None:
    asked = json.loads(sys.argv[1])
    torch.set_num_threads(asked["threads"])
    shape, count = tuple(asked["image"]), asked["batch"]
    source = make_source(asked["model"], SCHEME, asked["sparsity"], shape, asked["classes"], asked["task"])
    assert source is not None
    layout = torch.channels_last if asked["engine"] == "torch-last" else torch.contiguous_format
    model = source.model.to(memory_format=layout).train()
    parameters = dict(model.named_parameters())
    masks = {parameters[path]: torch.from_numpy(layer.mask) for path, layer in source.layers.items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9, weight_decay=1e-4)
    images, task = torch.randn(count, *shape).to(memory_format=layout), TASKS[asked["task"]]
    targets = source.task.noise(count, source.task.output(asked["classes"], shape))
    wanted = task.against(images, torch.from_numpy(targets))
    terms = task.terms(wanted, count, lambda counted: counted)

    def step() -> None:
        optimizer.zero_grad()
        outputs = model(images)
        answers = outputs if isinstance(outputs, torch.Tensor) else outputs[0]
        (task.loss_sum(answers, wanted) / terms).backward()
        optimizer.step()
        with torch.no_grad():
            for weight, mask in masks.items():
                weight.mul_(mask)

    reset_peak()  # what pruning took at its peak is no part of a step
    print(json.dumps({**timed(step, asked["steps"], 5, 2.0), "peak_bytes": read_counters().peak}))


if __name__ == "__main__":
    main()
