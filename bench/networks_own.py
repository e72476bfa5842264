"""Small networks as people write them for a board, for bench.networks."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models import VisionTransformer


def convolution(inner: int, outer: int, stride: int = 1, groups: int = 1, kernel: int = 3) -> nn.Module:
    """A convolution that keeps the size, without a bias."""
    return nn.Conv2d(inner, outer, kernel, stride, kernel // 2, groups=groups, bias=False)


def stages(
    width: int, act: type[nn.Module], norm: type[nn.Module] = nn.BatchNorm2d, channels: int = 3
) -> nn.Sequential:
    """Four convolutions that halve the image, each with norm and activation."""
    layers: list[nn.Module] = []
    for stage in range(4):
        outer = width << stage
        layers += [convolution(channels, outer, 2), norm(outer), act()]
        channels = outer
    return nn.Sequential(*layers)


def classifier(features: nn.Module, width: int, classes: int) -> nn.Module:
    """Features, pooled and classified."""
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def silu(num_classes: int) -> nn.Module:
    """A plain network with SiLU."""
    return classifier(stages(16, nn.SiLU), 128, num_classes)


def hardswish(num_classes: int) -> nn.Module:
    """A plain network with hard swish."""
    return classifier(stages(16, nn.Hardswish), 128, num_classes)


class ChannelNorm(nn.GroupNorm):
    """Group norm over groups of eight channels."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels // 8, channels)


def group_norm(num_classes: int) -> nn.Module:
    """A plain network with group norm, which no batch size disturbs."""
    return classifier(stages(16, nn.ReLU, ChannelNorm), 128, num_classes)


class PositionNorm(nn.LayerNorm):
    """Layer norm over the channels of every position."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images `(n, c, h, w)`."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def layer_norm(num_classes: int) -> nn.Module:
    """A plain network with layer norm and GELU."""
    return classifier(stages(16, nn.GELU, PositionNorm), 128, num_classes)


class Separable(nn.Module):
    """A depthwise convolution and a pointwise one, each with batch norm and ReLU6, around them a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(channels, channels, groups=channels),
            nn.BatchNorm2d(channels),
            nn.ReLU6(),
            convolution(channels, channels, kernel=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images `(n, c, h, w)`."""
        return x + self.body(x)


def depthwise(num_classes: int) -> nn.Module:
    """Depthwise-separable blocks."""
    first = nn.Sequential(convolution(3, 64, 2), nn.BatchNorm2d(64), nn.ReLU6())
    return classifier(nn.Sequential(first, *(Separable(64) for _ in range(6))), 64, num_classes)


class Gate(nn.Module):
    """Squeeze and excitation (Hu et al., section 3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(channels, channels // 4, 1), nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images `(n, c, h, w)`."""
        return x * torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))


def sigmoid_gates(num_classes: int) -> nn.Module:
    """A plain network with a gate behind each stage."""
    layers: list[nn.Module] = []
    for stage, inner in enumerate((3, 16, 32, 64)):
        outer = 16 << stage
        layers += [convolution(inner, outer, 2), nn.BatchNorm2d(outer), nn.ReLU(), Gate(outer)]
    return classifier(nn.Sequential(*layers), 128, num_classes)


def keyword_spotting(num_classes: int) -> nn.Module:
    """A depthwise-separable network over spectrograms of one channel (Zhang et al., "Hello Edge", section 3.4)."""
    first = nn.Sequential(nn.Conv2d(1, 64, (10, 4), 2, (5, 1), bias=False), nn.BatchNorm2d(64), nn.ReLU6())
    return classifier(nn.Sequential(first, *(Separable(64) for _ in range(4))), 64, num_classes)


def unit(inner: int, outer: int) -> nn.Sequential:
    """A convolution that keeps the size, with batch norm and ReLU."""
    return nn.Sequential(convolution(inner, outer), nn.BatchNorm2d(outer), nn.ReLU())


class UNet(nn.Module):
    """Three levels down by pooling and up by transposed convolutions, each joined with what it came from."""

    def __init__(self, classes: int, width: int = 16) -> None:
        super().__init__()
        sizes = [width, 2 * width, 4 * width]
        self.down = nn.ModuleList([unit(inner, outer) for inner, outer in zip([3, *sizes], sizes, strict=False)])
        self.bottom = unit(sizes[-1], sizes[-1])
        self.up = nn.ModuleList([nn.ConvTranspose2d(sizes[-1], size, 2, 2) for size in sizes[:1:-1]])
        self.up.extend(nn.ConvTranspose2d(2 * size, size, 2, 2) for size in sizes[1::-1])
        self.join = nn.ModuleList([unit(2 * size, size) for size in sizes[::-1]])
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images `(n, 3, h, w)` to logits `(n, classes, h, w)`; height and width divide by 8."""
        kept: list[torch.Tensor] = []
        for down in self.down:
            kept.append(down(x))
            x = nn.functional.max_pool2d(kept[-1], 2)
        x = self.bottom(x)
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([kept.pop(), up(x)], 1))
        return self.head(x)


def unet(num_classes: int) -> nn.Module:
    """A small U-Net."""
    return UNet(num_classes)


def autoencoder(num_classes: int) -> nn.Module:
    """Windows of six signals, a quarter as long in the middle, and back; trained on its own input."""
    return nn.Sequential(
        *(nn.Conv1d(num_classes, 16, 5, 2, 2), nn.BatchNorm1d(16), nn.ReLU()),
        *(nn.Conv1d(16, 32, 5, 2, 2), nn.BatchNorm1d(32), nn.ReLU()),
        *(nn.ConvTranspose1d(32, 16, 4, 2, 1), nn.BatchNorm1d(16), nn.ReLU()),
        nn.ConvTranspose1d(16, num_classes, 4, 2, 1),
    )


def vision_transformer(num_classes: int) -> nn.Module:
    """Four layers of four heads over patches of 8x8, as torchvision builds them."""
    return VisionTransformer(64, 8, 4, 4, 128, 512, num_classes=num_classes)
