"""Gates, layer scale, scaled residuals and normalisation in the model go to the board on both engines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import export
import mest
from edge.network import read_network
from export.checks.observe import native_missing
from export.ort.files import missing

pytestmark = pytest.mark.skipif(native_missing() is not None or missing() is not None, reason="needs both engines")

WIDTH = 12


class Squeezed(nn.Module):
    """A value times a gate of one number a channel, however the pooling is written."""

    def __init__(self, pool: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.pool = pool
        self.reduce, self.expand = nn.Conv2d(WIDTH, 4, 1), nn.Conv2d(4, WIDTH, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The gated value."""
        return x * F.hardtanh(self.expand(F.relu(self.reduce(self.pool(x)))), 0, 6)


class Linear(nn.Module):
    """A gate that linear layers make of each channel's mean and largest, shaped like an image in some way."""

    def __init__(self, shaped: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.shaped = shaped
        self.reduce, self.expand = nn.Linear(2 * WIDTH, 4), nn.Linear(4, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The gated value."""
        pooled = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        return x * self.shaped(torch.sigmoid(self.expand(F.relu(self.reduce(pooled)))))


class Spatial(nn.Module):
    """One number a cell."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Conv2d(WIDTH, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The gated value."""
        return F.relu(self.gate(x)) * x


class Scaled(nn.Module):
    """A residual branch times a parameter of some shape, and times a number."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(shape) + 0.5)
        self.layer = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x + 0.1 · gamma · layer(x)."""
        return x + self.layer(x) * self.gamma * 0.1


class Otherwise(nn.Module):
    """Constants on the left, differences, quotients, squares, opposites, and a parameter that is read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.rand(WIDTH, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any arithmetic."""
        x = (1 - x) / (1.5 + x**2) - self.shift
        return -x * x + 2 / (x * x + 1) + self.shift


class Viewed(nn.Module):
    """A branch times a vector that is given axes of one entry, and one of them on the left."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma, self.shift = nn.Parameter(torch.rand(WIDTH) + 0.5), nn.Parameter(torch.rand(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """shift - x · gamma."""
        return self.shift[:, None, None] - x * self.gamma.view(1, -1, 1, 1)


class Model(nn.Module):
    """Normalisation by buffers, a stem, the part, and a head."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1))
        self.stem = nn.Sequential(nn.Conv2d(3, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU())
        self.part = part
        self.body = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 3)`."""
        x = self.stem((images - self.mean) / self.std)
        return self.head(self.body(self.part(x)).mean((2, 3)))


PARTS: dict[str, Callable[[], nn.Module]] = {
    "adaptive pooling": lambda: Squeezed(nn.AdaptiveAvgPool2d(1)),
    "mean": lambda: Squeezed(lambda x: x.mean([-1, -2], keepdim=True)),
    "mean of means": lambda: Squeezed(lambda x: x.mean(-1, keepdim=True).mean(-2, keepdim=True)),
    "sum": lambda: Squeezed(lambda x: 0.02 * x.sum((2, 3), keepdim=True)),
    "indices": lambda: Linear(lambda gate: gate[:, :, None, None]),
    "unsqueezes from behind": lambda: Linear(lambda gate: gate.unsqueeze(-1).unsqueeze(-1)),
    "unflatten": lambda: Linear(lambda gate: gate.unflatten(1, (WIDTH, 1, 1))),
    "spatial gate": Spatial,
    "channel scale": lambda: Scaled(WIDTH, 1, 1),
    "channel scale with batch": lambda: Scaled(1, WIDTH, 1, 1),
    "scale": lambda: Scaled(),
    "scale of one": lambda: Scaled(1),
    "full scale": lambda: Scaled(WIDTH, 6, 6),
    "cell scale": lambda: Scaled(1, 6, 6),
    "channel vectors": Viewed,
    "slopes": lambda: nn.Sequential(
        nn.Conv2d(WIDTH, WIDTH, 1), nn.PReLU(WIDTH), nn.Conv2d(WIDTH, WIDTH, 1), nn.PReLU()
    ),
    "arithmetic": Otherwise,
}


def exported(model: nn.Module, scheme: str, folder: Path) -> None:
    """The model's artifact, which was verified on both engines."""
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    sparsifier = mest.sparsify(model, optimizer, scheme=scheme, sparsity=0.5, method="static")
    export.export_model(
        model,
        folder,
        example_input=torch.rand(4, 3, 6, 6),
        preprocess={"mean": [0.5] * 3, "std": [0.5] * 3},
        sparsifier=sparsifier,
    )
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["native"]["available"], manifest["native"]
    assert manifest["ort"]["available"], manifest["ort"]


@pytest.mark.parametrize("scheme", ["irregular", "channel"])
@pytest.mark.parametrize("part", PARTS)
def test_arithmetic_is_trained_by_both_engines(part: str, scheme: str, tmp_path: Path) -> None:
    """The engines agree with PyTorch; what the model has as parameters is trained under its own name and shape."""
    torch.manual_seed(0)
    model = Model(PARTS[part]())
    exported(model, scheme, tmp_path / "artifact")
    network = read_network(tmp_path / "artifact")
    for name, value in model.named_parameters():
        parameter = network.parameters[name]
        assert parameter.trainable
        if scheme == "irregular":
            assert parameter.shape == tuple(value.shape)
    assert not any(network.parameters[name].trainable for name in network.constants())
