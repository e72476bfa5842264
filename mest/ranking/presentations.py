"""What was presented in one epoch, by one process or several, in the order in which it happened.

Processes see disjoint samples within an epoch and other ones in the next, so no process can count on its own. Each
keeps a log of its epoch on the device that trains (8 bytes for each sample it presents, no synchronisation in a step);
at the end of the epoch the logs are exchanged once and sorted by step, then by rank. Every process then counts the same
presentations in the same order, so the counts are exact for any assignment of samples to processes, also where a
sampler repeats a few samples to fill the last step.

Correctness is judged as in the cited study, on the augmented image that was trained on, by the outputs of the training
step itself. Where images are mixed there is no such output for one sample: `look_again` judges the unmixed images.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from mest.ranking.forgetting import Flags, Indices

# A presentation is one integer: the step, 32 bits of sample index, one bit of outcome.
STEP_SHIFT = 33
BELOW_STEP = (1 << STEP_SHIFT) - 1
EMPTY = -1


class EpochLog:
    """The presentations of this process since the last `gather`."""

    def __init__(self, capacity: int, device: torch.device | str = "cpu") -> None:
        """Hold `capacity` presentations on `device`; more than that are accepted at the cost of one copy."""
        self._codes = torch.full((max(capacity, 1),), EMPTY, dtype=torch.int64, device=device)
        self._length = 0
        self._step = 0

    def record(self, indices: Tensor, correct: Tensor) -> None:
        """Note the samples (n,) of one step and whether each was classified correctly (n,).

        Each process calls this once for each step, in step with the others.
        """
        indices = indices.to(self._codes.device, torch.int64, non_blocking=True)
        correct = correct.to(self._codes.device, torch.int64, non_blocking=True)
        end = self._length + indices.numel()
        if end > self._codes.numel():
            grown = torch.full((2 * end,), EMPTY, dtype=torch.int64, device=self._codes.device)
            grown[: self._length] = self._codes[: self._length]
            self._codes = grown
        self._codes[self._length : end] = (indices << 1) + correct + (self._step << STEP_SHIFT)
        self._length = end
        self._step += 1

    def gather(self) -> tuple[Indices, Flags]:
        """Indices (n,) and outcomes (n,) of all processes since the last call, ordered by step and rank; empties."""
        codes = _all_processes(self._codes[: self._length]).cpu().numpy()
        self._length = self._step = 0
        codes = codes[np.argsort(codes >> STEP_SHIFT, kind="stable")]
        return (codes & BELOW_STEP) >> 1, (codes & 1).astype(np.bool_)


def _all_processes(codes: Tensor) -> Tensor:
    """The logs of all ranks, one after the other."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return codes
    length = torch.tensor([codes.numel()], device=codes.device)
    dist.all_reduce(length, op=dist.ReduceOp.MAX)
    padded = codes.new_full((int(length),), EMPTY)
    padded[: codes.numel()] = codes
    logs = [torch.empty_like(padded) for _ in range(dist.get_world_size())]
    dist.all_gather(logs, padded)
    joined = torch.cat(logs)
    return joined[joined != EMPTY]


@torch.no_grad()
def look_again(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Whether each image (n, c, h, w) is classified as its label (n,): one forward pass in evaluation mode.

    For steps whose own outputs do not judge one sample each, as under mixup: pass the augmented, unmixed images. Costs
    about a third of a training step and leaves model, gradients and running statistics as they were.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    correct: Tensor = model(images).argmax(1) == labels
    for module, training in modes.items():
        module.training = training
    return correct
