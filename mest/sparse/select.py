"""Which units stay and which grow: exact counts, ties broken by index, on the device where the scores are.

Nothing here loops over units or copies them to the host. The k-th largest value gives a threshold; what lies above it
is in, and of the equal ones the first by index fill the rest.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def best(scores: Tensor, eligible: Tensor, count: int) -> Tensor:
    """Bool tensor like `scores`: exactly the `count` eligible entries with the highest scores, ties by lower index.

    `count` must not exceed the number of eligible entries; scores must be finite.
    """
    if count <= 0:
        return torch.zeros_like(eligible)
    threshold = _largest(scores, eligible, count)
    reached = eligible & (scores >= threshold)
    if int(reached.count_nonzero()) == count:
        return reached
    above = eligible & (scores > threshold)
    equal = (reached & ~above).flatten()
    first = equal.cumsum(0) <= count - above.count_nonzero()
    return above | (equal & first).view(above.shape)


def best_balanced(scores: Tensor, eligible: Tensor, count: int) -> Tensor:
    """Bool tensor `(rows, columns)`: exactly `count` eligible entries, rows that differ by one at most.

    Every row keeps its ⌊count/rows⌋ best; the remainder goes to the rows whose next entry scores highest. The eligible
    entries must be spread as evenly, as they are in a full grid and in what this function returned before.
    """
    base, extra = divmod(count, scores.shape[0])
    ranks = _ranks(scores.masked_fill(~eligible, -torch.inf))
    chosen = eligible & (ranks < base)
    following = eligible & (ranks == base)
    next_scores = scores.masked_fill(~following, -torch.inf).amax(dim=1)
    return chosen | (following & best(next_scores, following.any(dim=1), extra)[:, None])


def fill_balanced(priority: Tensor, alive: Tensor, total: int) -> Tensor:
    """Bool tensor `(rows, columns)`: the dead entries that bring `alive` to `total`, evenly over the rows.

    The rows that get one more than the others are those that already have it, then those whose best entry has the
    highest priority. Within a row the highest priorities grow.
    """
    base, extra = divmod(total, priority.shape[0])
    have = alive.sum(dim=1)
    dead_priority = priority.masked_fill(alive, -torch.inf)
    lead = dead_priority.amax(dim=1).masked_fill(have > base, torch.finfo(priority.dtype).max)
    want = base + best(lead, (have > base) | ~alive.all(dim=1), extra).to(have.dtype)
    return ~alive & (_ranks(dead_priority) < (want - have).clamp(min=0)[:, None])


def _largest(scores: Tensor, eligible: Tensor, count: int) -> float | Tensor:
    """The `count`-th largest of the eligible scores. On the CPU through NumPy, whose selection is ten times as fast."""
    if scores.device.type == "cpu":
        values = scores.numpy()[eligible.numpy()]
        return float(np.partition(values, values.size - count)[values.size - count])
    selected = scores[eligible]
    return selected.kthvalue(selected.numel() - count + 1).values


def _ranks(scores: Tensor) -> Tensor:
    """Position of each entry in its row's descending order, equal entries by index."""
    order = scores.sort(dim=1, descending=True, stable=True).indices
    places = torch.arange(scores.shape[1], device=scores.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)
