"""The same masks on every process of a distributed run."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor


def agree(masks: dict[str, Tensor]) -> dict[str, Tensor]:
    """The masks of process 0, on every process; the given ones where nothing is distributed.

    Equal seeds and reduced gradients give equal masks already, up to rounding that differs between devices; one
    broadcast makes it certain. All processes must call it with the same layers.
    """
    if not masks or not _distributed():
        return masks
    flat = torch.cat([mask.flatten() for mask in masks.values()]).to(torch.uint8)
    if dist.get_backend() == "nccl" and not flat.is_cuda:
        flat = flat.to(torch.device("cuda", torch.cuda.current_device()))
    dist.broadcast(flat, src=0)
    parts = flat.to(torch.bool).split([mask.numel() for mask in masks.values()])
    return {
        name: part.view(mask.shape).to(mask.device) for (name, mask), part in zip(masks.items(), parts, strict=True)
    }


def mean(tensors: dict[str, Tensor], names: list[str], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors averaged over the processes that have them; the given ones where nothing is distributed.

    `names` are those that any process may have, the same everywhere, and `like` has a tensor of the shape for each.
    """
    if not names or not _distributed():
        return tensors
    some = next(iter(like.values()))
    have = _sum(torch.tensor([float(name in tensors) for name in names], device=some.device))
    shared = {name: count for name, count in zip(names, have.tolist(), strict=True) if count}
    return {
        name: _sum((tensors[name] if name in tensors else torch.zeros_like(like[name])).detach().clone()) / count
        for name, count in shared.items()
    }


def together(problem: str | None) -> str | None:
    """The problem of this process, or where it has none, that of another: all refuse, or none does."""
    if not _distributed():
        return problem
    ranks: list[int] = [0] * dist.get_world_size()
    dist.all_gather_object(ranks, int(problem is not None))
    if problem is not None or not any(ranks):
        return problem
    return f"process {ranks.index(1)} refused, so all do; see its message"


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _sum(tensor: Tensor) -> Tensor:
    """The sum over processes, in place."""
    on_device = tensor
    if dist.get_backend() == "nccl" and not tensor.is_cuda:
        on_device = tensor.to(torch.device("cuda", torch.cuda.current_device()))
    dist.all_reduce(on_device)
    return on_device.to(tensor.device)
