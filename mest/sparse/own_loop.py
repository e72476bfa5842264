"""Sparse training in three lines of one's own loop; see docs/own-loop.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from mest.errors import InputError
from mest.sparse.counts import Number, exact
from mest.sparse.growth import Growth
from mest.sparse.layers import select_targets
from mest.sparse.profile import Profile
from mest.sparse.schedule import PAPER_EPOCHS, Bounds, make_schedule
from mest.sparse.scheme import Scheme
from mest.sparse.score import MagnitudeGradient, Score
from mest.sparse.sparsifier import Sparsifier


def sparsify(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    scheme: str | Scheme = "block",
    sparsity: Number | None = None,
    profile: str | Path | Profile | Mapping[str, object] | None = None,
    distribution: str = "uniform",
    method: str = "ems",
    epochs: int = PAPER_EPOCHS,
    update_every_epochs: int = 5,
    lower_bound: Bounds | None = None,
    upper_bound: Bounds | None = None,
    decay_epochs: str | Sequence[int] | None = None,
    gradient_weight: float | None = None,
    score: str | Score | None = None,
    growth: str | Growth | None = None,
    seed: int = 0,
) -> Sparsifier:
    """The sparsifier that holds `model` sparse in every step of `optimizer`; call its `start_epoch` and `finish`.

    Give `sparsity` or `profile`, as `select_targets` reads them; the other options are those of `make_schedule`.
    Raises InputError, all problems with the layers at once.
    """
    targets = select_targets(model, scheme, profile=profile, sparsity=sparsity, distribution=distribution)
    schedule = make_schedule(
        method,
        epochs,
        update_every_epochs=update_every_epochs,
        lower_bound=lower_bound,
        upper_bound=upper_bound,
        decay_epochs=decay_epochs,
    )
    if sparsity is not None and schedule.bounds and schedule.target(sparsity) != exact(sparsity):
        end = float(schedule.target(sparsity))
        raise InputError(f"sparsity {sparsity} and bounds that end at {end}: give equal ones, or no bounds")
    if gradient_weight is not None:
        if score is not None:
            raise InputError("give either a score or a gradient weight")
        score = MagnitudeGradient(gradient_weight)
    return Sparsifier(model, targets, schedule, score=score, growth=growth, seed=seed).attach(optimizer)
