"""Two small models with operators that the native network lacks: a transformer and a convolutional net of today."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head self-attention over (n, tokens, width), written out, of waves of what it is given."""

    def __init__(self, width: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.heads = heads
        self.bias = nn.Parameter(torch.zeros(heads, tokens, tokens))
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count, tokens, width = x.shape
        x = torch.sin(x)
        parts = self.qkv(x).reshape(count, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = parts[0], parts[1], parts[2]
        scores = query @ key.transpose(-2, -1) * (width // self.heads) ** -0.5
        weights = (scores + self.bias).softmax(-1)
        return self.out((weights @ value).transpose(1, 2).reshape(count, tokens, width))


class Layer(nn.Module):
    """Attention and a two-layer perceptron, each behind a layer norm and around a shortcut."""

    def __init__(self, width: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads, tokens)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class TinyVit(nn.Module):
    """Patches by a convolution, a class token, learned positions, two layers."""

    def __init__(self, classes: int, channels: int, size: int, width: int = 32) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, width, 2, 2)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        tokens = (size // 2) ** 2 + 1
        self.positions = nn.Parameter(torch.randn(1, tokens, width) * 0.02)
        self.layers = nn.Sequential(Layer(width, 4, tokens), Layer(width, 4, tokens))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        return self.head(self.norm(self.layers(x))[:, 0])


class Inverted(nn.Module):
    """Expansion, depthwise convolution, a gate made of the error function, projection; SiLU throughout."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.expand = nn.Conv2d(channels, wide, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide)
        self.depthwise = nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False)
        self.bn2 = nn.BatchNorm2d(wide)
        self.gate = nn.Conv2d(wide, wide, 1)
        self.project = nn.Conv2d(wide, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = functional.silu(self.bn1(self.expand(x)))
        inner = functional.silu(self.bn2(self.depthwise(inner)))
        inner = inner * (1 + torch.erf(self.gate(functional.adaptive_avg_pool2d(inner, 1))))
        return x + self.bn3(self.project(inner))


class TinyGated(nn.Module):
    """Two inverted blocks whose results are joined by concatenation, as feature pyramids do."""

    def __init__(self, classes: int, channels: int, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.block1 = Inverted(width)
        self.block2 = Inverted(width)
        self.mix = nn.Conv2d(2 * width, width, 3, stride=2, padding=1)
        self.head = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.block1(functional.silu(self.norm(self.stem(x))))
        x = functional.gelu(self.mix(torch.cat([first, self.block2(first)], 1)))
        return self.head(x.mean((2, 3)))


class TinyEncoder(nn.Module):
    """PyTorch's own encoder layer, whose attention has a dropout that is no module, behind a random depth."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 16, 2, 2)
        self.layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.3, activation="gelu", batch_first=True)
        self.depth = RandomDepth()
        self.head = nn.Linear(16, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.head((x + self.depth(self.layer(x))).mean(1))


class RandomDepth(nn.Module):
    """Drops a branch for half of the samples while training."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.randint(0, 2, (len(x), 1, 1)) if self.training else x


def vit(num_classes: int, in_channels: int) -> nn.Module:
    """The transformer for 8×8 images, as `mest train --model foreign_models:vit` builds it."""
    return TinyVit(num_classes, in_channels, 8)


def gated(num_classes: int, in_channels: int) -> nn.Module:
    """The convolutional one, as `mest train --model foreign_models:gated` builds it."""
    return TinyGated(num_classes, in_channels)
