"""Small models with odd shapes, one of each family, captured once; and sources with the masks of a scheme."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from foreign_models import TinyGated, TinyVit
from onnx import numpy_helper
from torch import nn
from torch.nn import functional

from edge.plan.choices import OptimizerChoice
from export.capture import Captured, capture
from export.source import Source
from export.sparse_layer import SparseLayer
from mest.sparse import parse_scheme, select_targets
from mest.sparse.counts import kept_units

INPUT = (3, 9, 7)
FOREIGN_INPUT = (1, 8, 8)
CLASSES = 5


class Residual(nn.Module):
    """A basic block; with a stride its shortcut is a 1×1 convolution."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(inner + self.shortcut(x))


class TinyResnet(nn.Module):
    """Two residual blocks, the mean over the image written by view, as the published models do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layers = nn.Sequential(Residual(8, 8, 1), Residual(8, 12, 2))
        self.fc = nn.Linear(12, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layers(functional.relu(self.bn1(self.conv1(x))))
        return self.fc(x.mean((2, 3)))


class TinyMobilenet(nn.Module):
    """Expansion, depthwise and projection with ReLU6, a residual sum, dropout, and an average pool with padding."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.expand = nn.Sequential(nn.Conv2d(8, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.depthwise = nn.Sequential(
            nn.Conv2d(16, 16, 3, 1, 1, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU6()
        )
        self.project = nn.Sequential(nn.Conv2d(16, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8))
        self.pool = nn.AvgPool2d(3, 2, 1, count_include_pad=False)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(8, CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.project(self.depthwise(self.expand(x)))
        return self.classifier(functional.adaptive_avg_pool2d(self.pool(x), 1).flatten(1))


class TinyVgg(nn.Module):
    """Convolutions with bias, max pooling with ceil_mode, two linear layers behind a flatten of a whole image."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2, 2, ceil_mode=True),
            nn.Conv2d(8, 12, 3, padding=1),
            nn.BatchNorm2d(12),
            nn.ReLU(inplace=True),
            nn.Conv2d(12, 8, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(2, 2),
        )
        self.hidden = nn.Linear(8 * 2 * 2, 12)
        self.classifier = nn.Linear(12, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.flatten(self.features(x), 1)
        return self.classifier(functional.relu(self.hidden(x)))


FAMILIES: dict[str, type[nn.Module]] = {"resnet": TinyResnet, "mobilenet": TinyMobilenet, "vgg": TinyVgg}
SPARSE = {
    "resnet": ("layers.0.conv1", "layers.0.conv2", "layers.1.conv1", "layers.1.conv2"),
    "mobilenet": ("expand.0", "project.0"),
    "vgg": ("features.4", "features.7", "hidden"),
}


def scheme_mask(scheme: str, weight: torch.Tensor, sparsity: float) -> torch.Tensor:
    """The mask that keeps the largest units."""
    form, shape = parse_scheme(scheme), tuple(weight.shape)
    opened = form.open(weight.abs())
    units = form.keep(form.unit_scores(weight.abs() * opened), form.alive(opened), kept_units(form, shape, sparsity))
    return form.expand(units, shape) & opened


def make_source(model: nn.Module, family: str, scheme: str, sparsity: float) -> Source:
    """A copy of a model whose sparse layers keep their largest units; a layer that the scheme cannot take is dense."""
    model = copy.deepcopy(model)
    form = parse_scheme(scheme)
    layers = {}
    for path in SPARSE[family]:
        weight = model.get_submodule(path).weight
        if form.problem(tuple(weight.shape)) is None:
            mask = scheme_mask(scheme, weight.detach(), sparsity)
            with torch.no_grad():
                weight.mul_(mask)
            height = 4 if form.name == "block" else None
            layers[f"{path}.weight"] = SparseLayer(f"{path}.weight", form.name, height, sparsity, mask.numpy())
    names = tuple(str(number) for number in range(CLASSES))
    preprocess = {"mode": "RGB", "resize": None, "crop": None, "interpolation": "bilinear"}
    preprocess |= {"mean": [0.5] * 3, "std": [1.0] * 3}
    return Source(model, layers, INPUT, names, preprocess, OptimizerChoice(), 0.0, {"model": family})


def foreign_model(family: str) -> nn.Module:
    """A fresh model in evaluation mode, the same every time."""
    torch.manual_seed(0)
    return {"vit": TinyVit(CLASSES, 1, 8), "gated": TinyGated(CLASSES, 1)}[family].eval()


def foreign_source(family: str, scheme: str) -> Source:
    """A model at 75 %, sparse where `mest train --sparsity` would make it."""
    model, layers = foreign_model(family), {}
    for path in select_targets(model, parse_scheme(scheme), sparsity=0.75).targets:
        weight = model.get_parameter(path)
        mask = scheme_mask(scheme, weight.detach(), 0.75)
        with torch.no_grad():
            weight.mul_(mask)
        layers[path] = SparseLayer(path, scheme, 4 if scheme == "block" else None, 0.75, mask.numpy())
    names = tuple(str(number) for number in range(CLASSES))
    preprocess = {"mode": "L", "resize": None, "crop": None, "interpolation": "bilinear", "mean": [0.5], "std": [1.0]}
    return Source(model, layers, FOREIGN_INPUT, names, preprocess)


@pytest.fixture(scope="session")
def models() -> dict[str, nn.Module]:
    """One model of each family, its batch norms moved so that nothing is 0 or 1 by chance."""
    made = {}
    for number, (family, kind) in enumerate(FAMILIES.items()):
        torch.manual_seed(number)
        model = kind()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter.add_(torch.randn(parameter.shape) * 0.1)
            model.train()(torch.randn(16, *INPUT))
        made[family] = model.eval()
    return made


@pytest.fixture(scope="session")
def captures(models: dict[str, nn.Module]) -> Callable[[str, Source], Captured]:
    """The captured graph of a family with the weights of a source: tracing is what takes time, so once per family."""
    traced: dict[str, Captured] = {}

    def captured(family: str, source: Source) -> Captured:
        if family not in traced:
            traced[family] = capture(models[family], INPUT)
        found = copy.deepcopy(traced[family])
        state = source.model.state_dict()
        for tensor in found.model.graph.initializer:
            if tensor.name in state:
                array = np.ascontiguousarray(state[tensor.name].numpy())
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        return found

    return captured
