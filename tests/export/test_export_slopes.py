"""Slopes of PReLU: on images, windows, vectors and tokens, cut with the channels, trained under their own names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from there_and_back import check_what_comes_back
from torch import nn

import export
import mest
from edge.engines.reference import Reference
from edge.network import read_network
from export.capture import capture
from export.checks.observe import native_missing
from export.lower import lower
from export.ort.files import missing
from mest.errors import InputError

both_engines = pytest.mark.skipif(native_missing() is not None or missing() is not None, reason="needs both engines")
WIDTH = 6


class OverTokens(nn.Module):
    """One slope, behind a linear layer over the last axis; one of several would be of the tokens."""

    def __init__(self, slopes: int = 1) -> None:
        super().__init__()
        self.patches, self.linear = nn.Conv2d(3, WIDTH, 2, 2), nn.Linear(WIDTH, WIDTH)
        self.slope, self.head = nn.PReLU(slopes), nn.Linear(WIDTH, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 5)`."""
        return self.head(self.slope(self.linear(self.patches(x).flatten(2).transpose(1, 2))).mean(1))


def image() -> nn.Module:
    """Both kinds behind convolutions."""
    layers = [nn.Conv2d(3, WIDTH, 3), nn.PReLU(WIDTH, init=0.4), nn.Conv2d(WIDTH, WIDTH, 1), nn.PReLU()]
    return nn.Sequential(
        *layers, nn.Conv2d(WIDTH, WIDTH, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 5)
    )


def window() -> nn.Module:
    """Both kinds along the length."""
    layers = [nn.Conv1d(3, WIDTH, 3), nn.PReLU(WIDTH), nn.Conv1d(WIDTH, WIDTH, 1), nn.PReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(WIDTH, 5))


def vector() -> nn.Module:
    """Both kinds on features."""
    return nn.Sequential(nn.Linear(3, WIDTH), nn.PReLU(WIDTH), nn.Linear(WIDTH, WIDTH), nn.PReLU(), nn.Linear(WIDTH, 5))


MODELS = {
    "image": (image, (3, 6, 5)),
    "window": (window, (3, 9)),
    "vector": (vector, (3,)),
    "tokens": (OverTokens, (3, 6, 4)),
}


@pytest.mark.parametrize("kind", MODELS)
def test_slopes_are_operands(kind: str) -> None:
    """Below 0 each channel has its own, and the network's logits are PyTorch's."""
    torch.manual_seed(0)
    make, shape = MODELS[kind]
    model = make().eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim == 1 and "bias" not in name:
                value.copy_(torch.randn(value.shape))
    captured = capture(model, shape)
    network = lower(captured.model, captured.trainable)
    assert [one.op for one in network.operators].count("prelu") == (1 if kind == "tokens" else 2)
    for name, value in model.named_parameters():
        assert network.parameters[name].shape == tuple(value.shape) or value.ndim == 3
    numbers = torch.randn(4, *shape)
    rows = numbers.numpy() if len(shape) == 3 else numbers.reshape(4, 3, 1, -1).numpy()
    with torch.no_grad():
        np.testing.assert_allclose(Reference(network).predict(rows), model(numbers).numpy(), atol=1e-5)


def test_slopes_of_tokens_are_refused() -> None:
    """PyTorch counts them along the second axis, whatever that is."""
    captured = capture(OverTokens(6), (3, 6, 4))
    with pytest.raises(InputError, match=r"operator PRelu in module slope .*something else than the features"):
        lower(captured.model, captured.trainable)


@both_engines
@pytest.mark.parametrize("engine", ["native", "ort"])
def test_slopes_go_with_their_channels_and_come_back(engine: str, tmp_path: Path) -> None:
    """Scheme channel removes filters through a PReLU; what a board has trained returns into the whole slopes."""
    torch.manual_seed(0)
    model = image()
    sparsifier = mest.sparsify(
        model, torch.optim.SGD(model.parameters(), 0.1), scheme="channel", sparsity=0.5, method="static"
    )
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3}
    folder = tmp_path / "artifact"
    manifest = export.export_model(model, folder, example_input=(3, 6, 5), preprocess=preprocess, sparsifier=sparsifier)
    assert manifest.native["available"], manifest.native
    assert manifest.ort["available"], manifest.ort
    assert read_network(folder).parameters["1.weight"].shape == (WIDTH // 2,)
    images = np.random.default_rng(0).normal(size=(6, 3, 6, 5)).astype(np.float32)
    check_what_comes_back(folder, engine, model, sparsifier, images)
