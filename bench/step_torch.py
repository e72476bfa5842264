"""One cell of bench.step: PyTorch on masked dense weights, or SparseProp's layers, in its own process. Prints JSON."""

from __future__ import annotations

import importlib
import json
import sys

import torch
from torch import nn

from bench.step_cell import timed
from edge.host.counters import read_counters
from mest.models.resnet import WideResNet

IMAGE = (3, 32, 32)


def main() -> None:
    asked = json.loads(sys.argv[1])
    torch.set_num_threads(asked["threads"])
    torch.manual_seed(0)
    model = WideResNet(6 * asked["blocks"] + 2, 10)
    sparse = [module.conv1 for module in model.modules() if hasattr(module, "conv2")]
    sparse += [module.conv2 for module in model.modules() if hasattr(module, "conv2")]
    masks = {layer: torch.rand_like(layer.weight) < 1 - asked["sparsity"] for layer in sparse}
    for layer, mask in masks.items():
        layer.weight.data *= mask
    if asked["engine"] == "sparseprop":
        model = sparse_prop(model)
        masks = {}
    layout = torch.channels_last if asked["engine"] == "torch-last" else torch.contiguous_format
    model = model.to(memory_format=layout).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    images = torch.randn(asked["batch"], *IMAGE).to(memory_format=layout)
    labels = torch.randint(0, 10, (asked["batch"],))

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        with torch.no_grad():
            for layer, mask in masks.items():
                layer.weight.mul_(mask)

    print(json.dumps({**timed(step, asked["steps"], 8, 4.0), "peak_bytes": read_counters().peak}))


def sparse_prop(model: nn.Module) -> nn.Module:
    """The model with SparseProp's convolutions where weights are sparse; fails where it is not installed."""
    modules = importlib.import_module("sparseprop.modules")
    for parent in model.modules():
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Conv2d) and float((layer.weight == 0).float().mean()) > 0.5:
                setattr(parent, name, modules.SparseConv2d.from_dense(layer))
    return model


if __name__ == "__main__":
    main()
