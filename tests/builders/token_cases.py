"""What PyTorch makes of operators over tokens, whose features are the channels here."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional as F


def linearly(x: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """A linear layer over the channels of x `(n, c, ...)`."""
    return F.linear(x.movedim(1, -1), tensors["weight"], tensors.get("bias")).movedim(-1, 1)


def attended(
    x: torch.Tensor, heads: int, features: int, scale: float, windows: int, beside: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """Attention whose queries, keys and values are the channels of x `(n, c, h, w)`, head by head, in windows."""
    keys = (x.shape[1] - features) // 2
    cut = [part.unflatten(1, (heads, -1)) for part in x.flatten(2).split([keys, keys, features], 1)]
    parts = [part.unflatten(3, (windows, -1)).permute(0, 3, 1, 4, 2) for part in cut]
    added = torch.zeros((), dtype=x.dtype)
    if "bias" in beside:
        added = added + beside["bias"].flatten()[beside["places"].long()]
    if "mask" in beside:
        added = added + beside["mask"][:, None]
    weights = torch.softmax(scale * parts[0] @ parts[1].mT + added, -1)
    return (weights @ parts[2]).permute(0, 2, 4, 1, 3).reshape(len(x), features, *x.shape[2:])


def prepended(x: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Stored tokens in front of the positions of x `(n, c, h, w)`."""
    front = tokens.reshape(-1, x.shape[1]).T[None, :, None].expand(len(x), -1, -1, -1)
    return torch.cat([front, x.flatten(2)[:, :, None]], 3)
