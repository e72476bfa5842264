"""The same masks on every process of a distributed run."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def agree(masks: dict[str, Tensor]) -> dict[str, Tensor]:
    """The masks of process 0, on every process; the given ones where nothing is distributed.

    Equal seeds and reduced gradients give equal masks already, up to rounding that differs between devices; one
    broadcast makes it certain. All processes must call it with the same layers.
    """
    if not masks or not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return masks
    flat = torch.cat([mask.flatten() for mask in masks.values()]).to(torch.uint8)
    if dist.get_backend() == "nccl" and not flat.is_cuda:
        flat = flat.to(torch.device("cuda", torch.cuda.current_device()))
    dist.broadcast(flat, src=0)
    parts = flat.to(torch.bool).split([mask.numel() for mask in masks.values()])
    return {
        name: part.view(mask.shape).to(mask.device) for (name, mask), part in zip(masks.items(), parts, strict=True)
    }
