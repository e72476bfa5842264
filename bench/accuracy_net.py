"""A small network for 32x32 images, for machines on which the paper's would take days."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mest.models.resnet import NarrowBlock


class SmallNet(nn.Module):
    """One convolution over 4x4 patches and a residual block of two 3x3 convolutions at 32, 64 and 128 channels each."""

    def __init__(self, classes: int, in_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 32, 4, 4, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.blocks = nn.Sequential(NarrowBlock(32, 32, 1), NarrowBlock(32, 64, 2), NarrowBlock(64, 128, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(128, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        out = self.blocks(torch.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.pool(out), 1))


def small(num_classes: int, in_channels: int = 3) -> nn.Module:
    """The network, for `--model bench.accuracy_net:small`."""
    return SmallNet(num_classes, in_channels)
