"""A small trained artifact and shifted digits, made once per test session from the real export code."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "mest" / "data" / "digits.npz"
NAMES = tuple(str(digit) for digit in range(10))
PREPROCESS = {
    "mode": "L",
    "resize": None,
    "crop": None,
    "interpolation": "bilinear",
    "mean": [0.3],
    "std": [0.37],
}


def digits(count: int, shift: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The first digits, darker and moved to the right by a pixel, as another sensor would give them."""
    with np.load(DIGITS) as file:
        images, labels = file["images"][:count], file["labels"][:count]
    if shift:
        images = 255 - np.roll(images, shift, axis=2)
    return images.reshape(count, 8, 8), labels.astype(np.int64)


def build_model(seed: int = 0):
    """Two convolutions, the second sparse, each with batch norm, and a classifier."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


@functools.lru_cache(maxsize=8)
def _artifact(base: Path, scheme: str, format: str, room: str) -> Path:
    import torch

    from edge.plan.choices import OptimizerChoice
    from export.artifact import export_artifact
    from export.options import Options
    from export.source import Source
    from export.sparse_layer import SparseLayer

    torch.set_num_threads(1)
    model = build_model()
    layers = {}
    for name in ("3.weight", "6.weight"):
        weight = dict(model.named_parameters())[name]
        layers[name] = SparseLayer(name, scheme, 4 if scheme == "block" else None, 0.8, _mask(weight, scheme))
    _train(model, {name: torch.from_numpy(layer.mask) for name, layer in layers.items()})
    source = Source(
        model, layers, (1, 8, 8), NAMES, PREPROCESS, OptimizerChoice(momentum=0.9, weight_decay=1e-4), run={"epoch": 1}
    )
    out = base / f"{scheme}-{format}-{room}"
    export_artifact(source, out, Options(format=format, room=room, measure=True))
    return out


def _mask(weight, scheme: str) -> np.ndarray:
    random = np.random.default_rng(5)
    out, per, height, width = weight.shape
    if scheme == "block":
        columns = per * height * width
        kept = np.zeros(out // 4 * columns, bool)
        kept[random.choice(kept.size, kept.size // 5, replace=False)] = True
        return np.repeat(kept.reshape(out // 4, 1, columns), 4, axis=1).reshape(weight.shape)
    kept = np.zeros(weight.numel(), bool)
    kept[random.choice(kept.size, kept.size // 5, replace=False)] = True
    return kept.reshape(weight.shape)


def _train(model, masks, epochs: int = 6) -> None:
    import torch

    images, labels = digits(1000)
    x = torch.from_numpy((images[:, None] / np.float32(255) - np.float32(0.3)) / np.float32(0.37)).float()
    y = torch.from_numpy(labels)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    parameters = dict(model.named_parameters())
    for epoch in range(epochs):
        for batch in torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch)).split(50):
            with torch.no_grad():
                for name, mask in masks.items():
                    parameters[name].mul_(mask)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        for name, mask in masks.items():
            parameters[name].mul_(mask)


@pytest.fixture(scope="session")
def make_artifact(tmp_path_factory):
    """A function from scheme, format and room to an exported artifact, each made once."""
    pytest.importorskip("torch", reason="needs torch to train and capture the example")
    pytest.importorskip("onnx", reason="needs onnx to export the example")
    base = tmp_path_factory.mktemp("artifacts")

    def make(scheme: str = "block", format: str = "auto", room: str = "ems") -> Path:
        return _artifact(base, scheme, format, room)

    return make


@pytest.fixture(scope="session")
def shifted(tmp_path_factory) -> Path:
    """400 shifted digits as an npz."""
    path = tmp_path_factory.mktemp("data") / "shifted.npz"
    images, labels = digits(400, shift=1)
    np.savez(path, images=images, labels=labels)
    return path


def environment() -> dict[str, str]:
    """What a command runs with: this checkout, one thread of everything."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def mest(*arguments: object) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own."""
    command = [sys.executable, "-m", "mest", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
