"""Attention and reductions that no single step computes: whatever the models write, both engines follow PyTorch."""

from __future__ import annotations

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
WIDTH = 8


class BetweenChannels(nn.Module):
    """XCiT's attention: lengths of one, a learned temperature, scores between the channels of a head."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.temperature = nn.Linear(WIDTH, 3 * WIDTH), nn.Parameter(torch.full((2, 1, 1), 1.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, 2, c // 2).permute(2, 0, 3, 4, 1)
        scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1) * self.temperature
        return x + (scores.softmax(-1) @ v).permute(0, 3, 1, 2).reshape(n, t, c)


class OfOneToken(nn.Module):
    """CaiT's class attention: the first token asks, all answer; and a mean over what the heads say."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.kv = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2 * WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, c = x.shape
        q = self.q(x[:, :1]).reshape(n, 1, 2, c // 2).transpose(1, 2)
        k, v = self.kv(x).reshape(n, t, 2, 2, c // 2).permute(2, 0, 3, 1, 4)
        asked = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, 1, c)
        return x + asked


class TalkingHeads(nn.Module):
    """Attention whose scores pass a layer over the heads, with keys of a smaller image that all of them share."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.kv, self.talk = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, c = x.shape
        q = self.q(x).reshape(n, t, 2, c // 2).transpose(1, 2)
        k, v = self.kv(x[:, ::2]).reshape(n, -1, 2, 2, c // 2).permute(2, 0, 3, 1, 4)
        scores = self.talk((q @ k.transpose(-2, -1)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, c)


class OverTokens(nn.Module):
    """LeViT's batch norm over images and tokens, and ConvNeXt V2's norm of what each channel's length is."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(WIDTH, WIDTH, bias=False), nn.BatchNorm1d(WIDTH)
        self.gamma = nn.Parameter(torch.rand(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.layer(x).flatten(0, 1)).reshape_as(x)
        length = x.norm(p=2, dim=1, keepdim=True)
        return x + self.gamma * (x * (length / (length.mean(dim=-1, keepdim=True) + 1e-6)))


class Tokens(nn.Module):
    """All of them, one behind another."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, 2, 2)
        self.blocks = nn.Sequential(OverTokens(), BetweenChannels(), OfOneToken(), TalkingHeads())
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 4)`."""
        return self.head(self.blocks(self.stem(images).flatten(2).transpose(1, 2)).mean(1))


class Gates(nn.Module):
    """Halves of shuffled channels, and gates: CBAM's, ECA's, and MobileViT V2's softmax over positions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH), nn.SiLU())
        self.where = nn.Conv2d(2, 1, 3, padding=1)
        self.which = nn.Conv1d(1, 1, 3, padding=1, bias=False)
        self.asked = nn.Conv2d(WIDTH, 1 + 2 * WIDTH, 1)
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 4)`."""
        x = self.stem(images)
        n, c, h, w = x.shape
        x = x * self.where(torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)).sigmoid()
        x = torch.cat(F.channel_shuffle(x, 2).chunk(2, 1)[::-1], 1)
        x = x * self.which(x.mean((2, 3)).view(n, 1, -1)).view(n, -1, 1, 1).expand_as(x).sigmoid()
        patches = x.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(n, c, 4, -1)
        score, key, value = self.asked(patches).split([1, WIDTH, WIDTH], 1)
        context = (key * score.softmax(-1)).sum(-1, keepdim=True)
        return self.head((F.relu(value) * context).mean((2, 3)))


class Pyramid(nn.Module):
    """Attention to a smaller image of normed tokens (PVT), then a GELU of tokens from a convolution (TinyViT)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.smaller = nn.Conv2d(3, WIDTH, 1), nn.Conv2d(WIDTH, WIDTH, 2, 2)
        self.norm, self.asked, self.answered = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2 * WIDTH)
        self.local, self.wide = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH), nn.Linear(WIDTH, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 4)`."""
        x = self.stem(images)
        n, c, h, w = x.shape
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        fewer = self.smaller(tokens.transpose(1, 2).reshape(n, c, h, w)).reshape(n, c, -1).transpose(1, 2)
        key, value = self.answered(fewer).reshape(n, -1, 2, 1, c).permute(2, 0, 3, 1, 4).unbind(0)
        query = self.asked(tokens).reshape(n, h * w, 1, -1).transpose(1, 2)
        x = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(n, h * w, c)
        x = self.local(x.transpose(1, 2).reshape(n, c, h, w)).flatten(2).transpose(1, 2)
        return self.head(F.gelu(self.wide(x)).mean(1))


class Turned(nn.Module):
    """Windows (length, channels) turned for a convolution, and read as an image of one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.along, self.across = nn.Conv1d(3, 4, 3), nn.Conv2d(1, 4, (3, 1))
        self.norm, self.head = nn.BatchNorm1d(4), nn.Linear(8, 4)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 4)` of `(n, length, 3)`."""
        along = F.max_pool1d(torch.relu(self.norm(self.along(windows.transpose(1, 2)))), 2).mean(2)
        return self.head(torch.cat([along, torch.relu(self.across(windows.unsqueeze(1))).mean((2, 3))], 1))


CASES = [(Tokens, (3, 6, 8)), (Gates, (3, 4, 6)), (Pyramid, (3, 4, 6)), (Turned, (10, 3))]


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_both_engines_follow_pytorch(kind: type[nn.Module], shape: tuple[int, ...], tmp_path: Path) -> None:
    """Export compares a step of each with PyTorch's and writes nothing where they differ."""
    torch.manual_seed(0)
    model = kind()
    sparsifier = mest.sparsify(
        model, torch.optim.SGD(model.parameters(), 0.1), scheme="irregular", sparsity=0.3, method="static"
    )
    preprocess = (
        {"mean": 0.5, "std": 0.5} if kind is not Turned else {"mode": "array", "mean": [0.0] * 10, "std": [1.0] * 10}
    )
    folder = tmp_path / "artifact"
    export.export_model(
        model, folder, example_input=torch.rand(2, *shape), preprocess=preprocess, sparsifier=sparsifier
    )
    found = {operator.op for operator in read_network(folder).operators}
    assert not found & {"foreign"}
    if kind is Tokens:
        assert {"matmul", "softmax", "transpose", "sqrt"} <= found
