"""A small residual network for 8x8 grey digits: 30 thousand weights in six 3x3 convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mest.models.initialise import initialise
from mest.models.resnet import NarrowBlock


class DigitsNet(nn.Module):
    """One plain convolution and three residual blocks of 16, 16 and 32 channels."""

    def __init__(self, classes: int, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(NarrowBlock(16, 16, 1))
        self.layer2 = nn.Sequential(NarrowBlock(16, 32, 2), NarrowBlock(32, 32, 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(32, classes)
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits `(n, classes)` of images `(n, c, h, w)`."""
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.layer2(self.layer1(out))
        return self.fc(torch.flatten(self.pool(out), 1))


def digits(classes: int, in_channels: int = 1) -> nn.Module:
    """Return the small network that goes with the packaged digits."""
    return DigitsNet(classes, in_channels)
