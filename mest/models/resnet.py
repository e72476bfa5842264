"""The residual networks for small images, with the parameter names of the published profiles.

Both have 6n + 2 layers in three stages. The published code names their parts differently, and profiles rely on it:
resnet32 has `bn`, a shortcut `downsample.0` followed by `bn3`, and `linear`; resnet20 has `bn1`, `downsample.0` and
`downsample.1`, and `fc`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mest.models.initialise import initialise


class WideBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, `(n, in, h, w)` to `(n, out, h/stride, w/stride)`, named as in resnet32."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        self.bn3: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.bn3 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None and self.bn3 is not None:
            x = self.bn3(self.downsample(x))
        return torch.relu(out + x)


class WideResNet(nn.Module):
    """The 2x-wide ResNet of the paper: stages of 32, 64 and 128 channels; resnet32 has 1.86 M parameters."""

    def __init__(self, depth: int, classes: int, in_channels: int = 3) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(in_channels, 32, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(32)
        self.layer1 = nn.Sequential(*(WideBlock(32, 32, 1) for _ in range(blocks)))
        self.layer2 = nn.Sequential(*(WideBlock(64 if i else 32, 64, 1 if i else 2) for i in range(blocks)))
        self.layer3 = nn.Sequential(*(WideBlock(128 if i else 64, 128, 1 if i else 2) for i in range(blocks)))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(128, classes)
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits `(n, classes)` of images `(n, c, h, w)`."""
        out = torch.relu(self.bn(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        return self.linear(torch.flatten(self.pool(out), 1))


class NarrowBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, named as in resnet20."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            x = self.downsample(x)
        return torch.relu(out + x)


class NarrowResNet(nn.Module):
    """The usual CIFAR ResNet: stages of 16, 32 and 64 channels; resnet20 has 0.27 M parameters."""

    def __init__(self, depth: int, classes: int, in_channels: int = 3) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(NarrowBlock(16, 16, 1) for _ in range(blocks)))
        self.layer2 = nn.Sequential(*(NarrowBlock(32 if i else 16, 32, 1 if i else 2) for i in range(blocks)))
        self.layer3 = nn.Sequential(*(NarrowBlock(64 if i else 32, 64, 1 if i else 2) for i in range(blocks)))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, classes)
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits `(n, classes)` of images `(n, c, h, w)`."""
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        return self.fc(torch.flatten(self.pool(out), 1))


def resnet20(classes: int, in_channels: int = 3) -> nn.Module:
    """Return the published resnet20."""
    return NarrowResNet(20, classes, in_channels)


def resnet32(classes: int, in_channels: int = 3) -> nn.Module:
    """Return the published resnet32, twice as wide as the usual one."""
    return WideResNet(32, classes, in_channels)
