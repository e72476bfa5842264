"""A small U-Net and an autoencoder of windows: both engines follow PyTorch over several steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import export
import mest
from edge.engines.native.engine import NativeEngine
from edge.network import read_network
from edge.plan.choices import Choices, OptimizerChoice
from export.checks.observe import native_missing
from export.ort.files import missing
from export.ort.session import Session

pytestmark = pytest.mark.skipif(native_missing() is not None or missing() is not None, reason="needs both engines")
STEPS, RATE = 5, 0.05


class UNet(nn.Module):
    """Two levels down, up again by a transposed convolution and by resizing, each joined with what it came from."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.second, self.norm2 = nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.bottom, self.norm3 = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.mix = nn.Conv2d(24, 8, 3, padding=1, padding_mode="reflect")
        self.last, self.norm4 = nn.Conv2d(16, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 4)`."""
        wide = F.relu(self.norm1(self.first(images)))
        half = F.relu(self.norm2(self.second(F.max_pool2d(wide, 2))))
        x = self.up(F.relu(self.norm3(self.bottom(F.max_pool2d(half, 2)))))
        x = F.relu(self.mix(torch.cat([half, x], 1)))
        x = F.interpolate(x, scale_factor=2, mode="bilinear")
        return self.head(F.relu(self.norm4(self.last(torch.cat([wide, x], 1)))).mean((2, 3)))


class Windows(nn.Module):
    """Strided down and made longer again, by a factor and by a transposed convolution, as an autoencoder is."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv1d(2, 8, 5, 2, 2), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 16, 5, 2, 2), nn.ReLU()
        )
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=2),
            nn.ReplicationPad1d(1),
            nn.Conv1d(16, 8, 3),
            nn.BatchNorm1d(8),
            nn.ReLU(),
            nn.ConvTranspose1d(8, 8, 3, 2, 1, 1),
            nn.ReLU(),
        )
        self.head = nn.Linear(8, 4)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 4)`."""
        return self.head(self.up(self.down(windows)).mean(2))


@pytest.mark.parametrize(
    ("kind", "shape", "scheme"),
    [(UNet, (1, 8, 8), "block"), (UNet, (1, 8, 8), "channel"), (Windows, (2, 24), "irregular")],
)
def test_both_engines_follow_pytorch(
    kind: type[nn.Module], shape: tuple[int, ...], scheme: str, tmp_path: Path
) -> None:
    """The loss of each step, on one batch: that of the first is the agreement at export, those behind it training's."""
    torch.manual_seed(0)
    model = kind()
    optimizer = torch.optim.SGD(model.parameters(), RATE, momentum=0.9)
    sparsifier = mest.sparsify(model, optimizer, scheme=scheme, sparsity=0.5, method="static")
    sparsifier.start_epoch(0)
    preprocess = {"mode": "array", "mean": [0.0] * shape[0], "std": [1.0] * shape[0]}
    manifest = export.export_model(
        model, tmp_path / "a", example_input=shape, preprocess=preprocess, sparsifier=sparsifier, optimizer=optimizer
    )
    assert manifest.native["available"], manifest.native["reason"]
    assert manifest.ort["available"], manifest.ort["reason"]

    rng = np.random.default_rng(0)
    inputs, labels = rng.standard_normal((6, *shape)).astype(np.float32), rng.integers(0, 4, 6)
    network = read_network(tmp_path / "a")
    choice = Choices(batch_size=6, micro_batch=6, threads=2, optimizer=OptimizerChoice(momentum=0.9, weight_decay=0.0))
    engine, session = NativeEngine.of(network, choice), Session(tmp_path / "a")
    losses = []
    model.train()
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(torch.from_numpy(inputs)), torch.from_numpy(labels))
        loss.backward()
        optimizer.step()
        images = inputs.reshape(6, *network.input)
        losses.append(
            (loss.item(), engine.train_step(images, labels, RATE).loss, session.train_step(inputs, labels, RATE)[0])
        )
    engine.close()
    theirs, native, ort = np.array(losses).T
    assert theirs[-1] < theirs[0]
    np.testing.assert_allclose(native, theirs, rtol=2e-4)
    np.testing.assert_allclose(ort, theirs, rtol=2e-4)
