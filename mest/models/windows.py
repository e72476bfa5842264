"""A small residual network for windows of sensor samples: 53 thousand weights in eight convolutions over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mest.models.initialise import initialise


class WindowBlock(nn.Module):
    """Two convolutions of width 3 and a shortcut, `(n, in, length)` to `(n, out, length/stride)`."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm1d(outputs)
        self.conv2 = nn.Conv1d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm1d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv1d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm1d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return torch.relu(out + (x if self.downsample is None else self.downsample(x)))


class WindowNet(nn.Module):
    """A convolution of width 5 and stride 2, and residual blocks of 32, 64 and 64 channels."""

    def __init__(self, classes: int, in_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(in_channels, 32, 5, 2, padding=2, bias=False)
        self.bn1 = nn.BatchNorm1d(32)
        self.layer1 = WindowBlock(32, 32, 1)
        self.layer2 = nn.Sequential(WindowBlock(32, 64, 2), WindowBlock(64, 64, 2))
        self.fc = nn.Linear(64, classes)
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits `(n, classes)` of windows `(n, channels, length)`."""
        out = torch.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer2(self.layer1(out)).mean(2))


def windows(classes: int, in_channels: int = 1) -> nn.Module:
    """Return the small network that goes with the packaged signals of a smartwatch."""
    return WindowNet(classes, in_channels)
