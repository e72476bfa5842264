"""What PyTorch makes of a normalisation within each sample."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional as F


def sample_normalised(
    x: torch.Tensor, groups: int, tensors: Mapping[str, torch.Tensor], epsilon: float
) -> torch.Tensor:
    """x `(n, c, ...)` by its groups of channels, or (groups 0) over the channels at each position; `scale` and `shift`
    are there or not, one number a channel or a cell."""
    scale, shift = tensors.get("scale"), tensors.get("shift")
    if groups == 0:
        return F.layer_norm(x.movedim(1, -1), x.shape[1:2], scale, shift, epsilon).movedim(-1, 1)
    y = F.group_norm(x, groups, eps=epsilon)
    beside = (-1, *[1] * (x.ndim - 2))
    y = y if scale is None else y * (scale if scale.shape == x.shape[1:] else scale.reshape(beside))
    return y if shift is None else y + (shift if shift.shape == x.shape[1:] else shift.reshape(beside))
