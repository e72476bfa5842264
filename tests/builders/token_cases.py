"""What PyTorch makes of operators over tokens, whose features are the channels here."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional as F


def linearly(x: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """A linear layer over the channels of x `(n, c, ...)`."""
    return F.linear(x.movedim(1, -1), tensors["weight"], tensors.get("bias")).movedim(-1, 1)
