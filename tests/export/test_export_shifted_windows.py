"""Attention within windows, as Swin and MobileViT write it, goes to the board on both engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from there_and_back import check_what_comes_back
from torch import nn
from torchvision.models import SwinTransformer

import export
import mest
from edge.engines.reference import Reference
from edge.network import Network, read_network
from edge.network.operators.attention import Attention
from export.capture import capture
from export.checks.observe import native_missing
from export.lower import lower
from export.ort.files import missing

both_engines = pytest.mark.skipif(native_missing() is not None or missing() is not None, reason="needs both engines")
SIZE = (3, 12, 12)


def swin() -> nn.Module:
    """swin_t's structure, small: windows of 3 × 3, shifted in one layer of two, patches merged, positions learned."""
    model = SwinTransformer([2, 2], 8, [2, 1], [2, 4], [3, 3], num_classes=5, stochastic_depth_prob=0.0)
    for name, value in model.named_parameters():
        if "bias_table" in name:
            nn.init.normal_(value)
    nn.init.normal_(model.head.weight, std=0.3)
    return model


class Unfolded(nn.Module):
    """MobileViT's: attention among the pixels that have the same place in their patches of 2 × 2."""

    def __init__(self, width: int = 6, heads: int = 2) -> None:
        super().__init__()
        self.stem, self.heads = nn.Conv2d(3, width, 3, 2, 1), heads
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.head = nn.Linear(width, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 5)`."""
        x = self.stem(x)
        n, c, h, w = x.shape
        rows, columns = h // 2, w // 2
        y = x.reshape(n * c * rows, 2, columns, 2).transpose(1, 2)
        y = y.reshape(n, c, rows * columns, 4).transpose(1, 3).reshape(n * 4, rows * columns, c)
        q, k, v = self.qkv(self.norm(y)).reshape(n * 4, -1, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y = y + self.out(((q @ k.mT).softmax(-1) @ v).transpose(1, 2).reshape(n * 4, -1, c))
        y = y.view(n, 4, rows * columns, -1).transpose(1, 3).reshape(n * c * rows, columns, 2, 2)
        y = y.transpose(1, 2).reshape(n, c, h, w)
        return self.head((x + y).mean((2, 3)))


MODELS = {"swin": swin, "unfolded": Unfolded}


@pytest.mark.parametrize("name", MODELS)
def test_windows_are_of_one_attention_each(name: str) -> None:
    """The network's logits are PyTorch's; the windows are fields of attention, what picks them a list of positions."""
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    captured = capture(model, SIZE)
    network = lower(captured.model, captured.trainable)
    attentions = [one for one in network.operators if isinstance(one, Attention)]
    assert [one.windows for one in attentions] == ([4, 4, 1] if name == "swin" else [4])
    assert [one.mask is not None for one in attentions] == ([False, True, False] if name == "swin" else [False])
    images = torch.randn(3, *SIZE)
    with torch.no_grad():
        np.testing.assert_allclose(Reference(network).predict(images.numpy()), model(images).numpy(), atol=1e-5)


def exported(model: nn.Module, folder: Path) -> tuple[object, Network]:
    """The sparsifier of a model at half of its weights, and its network, verified on both engines."""
    sparsifier = mest.sparsify(
        model, torch.optim.SGD(model.parameters(), 0.1), scheme="irregular", sparsity=0.5, method="static"
    )
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3}
    manifest = export.export_model(model, folder, example_input=SIZE, preprocess=preprocess, sparsifier=sparsifier)
    assert manifest.native["available"], manifest.native
    assert manifest.ort["available"], manifest.ort
    return sparsifier, read_network(folder)


@both_engines
def test_swin_is_trained_by_both_engines_and_comes_back(tmp_path: Path) -> None:
    """Tables of relative positions are trained as the model has them."""
    torch.manual_seed(1)
    model = swin()
    sparsifier, network = exported(model, tmp_path / "artifact")
    tables = {name: value for name, value in model.named_parameters() if "bias_table" in name}
    assert len(tables) == 3
    assert all(network.parameters[name].shape == tuple(value.shape) for name, value in tables.items())
    images = np.random.default_rng(0).normal(size=(6, *SIZE)).astype(np.float32)
    check_what_comes_back(tmp_path / "artifact", "native", model, sparsifier, images)
