"""VGG for small images: batch norm after every convolution, one linear layer, published parameter names."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mest.models.initialise import initialise

# Output channels of each convolution, stage by stage; a 2x2 maximum pool lies between stages.
STAGES = {
    16: ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
    19: ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4),
}


class VGG(nn.Module):
    """A VGG whose parameters are `features.N` and `classifier`; images need at least 16x16 pixels."""

    def __init__(self, depth: int, classes: int, in_channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for number, stage in enumerate(STAGES[depth]):
            if number:
                layers.append(nn.MaxPool2d(2))
            for outputs in stage:
                layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
                channels = outputs
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits `(n, classes)` of images `(n, c, h, w)`."""
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


def vgg16(classes: int, in_channels: int = 3) -> nn.Module:
    """Return VGG-16 with 13 convolutions."""
    return VGG(16, classes, in_channels)


def vgg19(classes: int, in_channels: int = 3) -> nn.Module:
    """Return VGG-19 with 16 convolutions."""
    return VGG(19, classes, in_channels)
