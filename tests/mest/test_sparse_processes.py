"""Several processes: identical masks on all of them, whatever their seeds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from mest import sparsify

pytestmark = pytest.mark.skipif(not dist.is_gloo_available(), reason="this torch has no gloo backend")


def _train(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.save([_run(rank, wrap_first) for wrap_first in (True, False)], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def _run(rank: int, wrap_first: bool) -> dict[str, torch.Tensor]:
    """Masks and weights after a short run; wrapped afterwards, the processes begin with different weights."""
    torch.manual_seed(0 if wrap_first else rank)
    model: nn.Module = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 16, 3), nn.Flatten(), nn.Linear(256, 3))
    if wrap_first:
        model = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sparsifier = sparsify(model, optimizer, scheme="block", sparsity=0.7, method="ems", epochs=8, seed=rank)
    if not wrap_first:
        model = nn.parallel.DistributedDataParallel(model)
    generator = torch.Generator().manual_seed(rank)
    for epoch in range(8):
        sparsifier.start_epoch(epoch)
        images = torch.randn(4, 1, 8, 8, generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), torch.arange(4) % 3).backward()
        optimizer.step()
    sparsifier.finish()
    assert sparsifier.zeros_kept
    masks = {f"mask of {name}": mask for name, mask in sparsifier.masks.items()}
    return masks | sparsifier.model.state_dict()


def test_masks_and_weights_are_the_same_on_every_process(tmp_path: Path) -> None:
    """Different seeds, different data, sparsified before or after wrapping: one set of masks, equal weights."""
    mp.spawn(_train, args=(str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))  # noqa: TID251
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
