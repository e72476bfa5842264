"""What PyTorch makes of operators over tokens, whose features are the channels here."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional as F


def linearly(x: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """A linear layer over the channels of x `(n, c, ...)`."""
    return F.linear(x.movedim(1, -1), tensors["weight"], tensors.get("bias")).movedim(-1, 1)


def attended(x: torch.Tensor, heads: int, features: int, scale: float) -> torch.Tensor:
    """Attention whose queries, keys and values are the channels of x `(n, c, h, w)`, head by head."""
    keys = (x.shape[1] - features) // 2
    parts = [part.unflatten(1, (heads, -1)).transpose(2, 3) for part in x.flatten(2).split([keys, keys, features], 1)]
    y = F.scaled_dot_product_attention(*parts, scale=scale)
    return y.transpose(2, 3).reshape(len(x), features, *x.shape[2:])


def prepended(x: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Stored tokens in front of the positions of x `(n, c, h, w)`."""
    front = tokens.reshape(-1, x.shape[1]).T[None, :, None].expand(len(x), -1, -1, -1)
    return torch.cat([front, x.flatten(2)[:, :, None]], 3)
