"""The initial weights of the published CIFAR models."""

from __future__ import annotations

from torch import nn


def initialise(module: nn.Module) -> None:
    """Give a module its first weights: He's normal over the fan-out for convolutions, N(0, 0.01) for linear layers."""
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.01)
        nn.init.zeros_(module.bias)
