"""Several processes: identical masks on all of them, whatever their seeds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.optim import ZeroRedundancyOptimizer

from mest import sparsify
from mest.errors import InputError

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


def _partitioned(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(nn.Sequential(*(nn.Linear(16, 16) for _ in range(4))))
    optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.Adam, lr=0.01)
    options = {"scheme": "irregular", "sparsity": 0.8, "method": "em", "epochs": 8, "update_every_epochs": 2}
    sparsifier = sparsify(model, optimizer, **options)
    generator = torch.Generator().manual_seed(rank)
    seen = 0
    for epoch in range(4):
        sparsifier.start_epoch(epoch)
        optimizer.zero_grad()
        model(torch.randn(4, 16, generator=generator)).square().sum().backward()
        optimizer.step()
        assert sparsifier.zeros_kept
        for name, mask in sparsifier.masks.items():
            state = optimizer.optim.state.get(sparsifier.model.get_parameter(name), {})
            tensors = [value for value in state.values() if value.shape == mask.shape]
            assert not any(bool(value[~mask].any()) for value in tensors)
            seen += len(tensors)
    assert seen
    # What one process refuses, all do: none waits for another that went away.
    if rank == 1:
        with torch.no_grad():
            sparsifier.model.get_parameter("1.weight").fill_(1)
    with pytest.raises(InputError, match="removed weights are not zero" if rank else "process 1 refused, so all do"):
        sparsifier.start_epoch(4)
    dist.destroy_process_group()


def test_a_partitioned_optimizer_keeps_no_state_of_removed_weights(tmp_path: Path) -> None:
    """ZeroRedundancyOptimizer has its state in an inner optimizer; and processes refuse together."""
    mp.spawn(_partitioned, args=(str(tmp_path),), nprocs=2)
