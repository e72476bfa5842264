"""Sparse training in three lines of one's own loop; see docs/own-loop.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mest.errors import InputError
from mest.sparse.decimals import Number, exact
from mest.sparse.fit import optimizers_of
from mest.sparse.given_masks import check_masks, made_permanent, targets_of
from mest.sparse.growth import Growth
from mest.sparse.layers import Selection, select_targets
from mest.sparse.methods import MethodFunction, make_schedule
from mest.sparse.parameters import bare
from mest.sparse.profile import Profile
from mest.sparse.schedule import PAPER_EPOCHS, Bounds, Phase, Schedule
from mest.sparse.schemes.scheme import Scheme
from mest.sparse.score import MagnitudeGradient, Score
from mest.sparse.sparsifier import Sparsifier


def sparsify(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    scheme: str | Scheme | None = None,
    sparsity: Number | None = None,
    profile: str | Path | Profile | Mapping[str, object] | None = None,
    masks: Mapping[str, object] | None = None,
    distribution: str = "uniform",
    classifier: str | Sequence[str] | None = None,
    dense: str | Sequence[str] = (),
    method: str | Schedule | Sequence[Phase] | MethodFunction = "em",
    epochs: int | None = None,
    update_every_epochs: int | None = None,
    lower_bound: Bounds | None = None,
    upper_bound: Bounds | None = None,
    decay_epochs: str | Sequence[int] | None = None,
    gradient_weight: float | None = None,
    score: str | Score | None = None,
    growth: str | Growth | None = None,
    seed: int = 0,
    state: Mapping[str, Any] | None = None,
) -> Sparsifier:
    """The sparsifier that holds `model` sparse in every step of `optimizer`; call its `start_epoch` and `finish`.

    Give `sparsity` or `profile`, as `select_targets` reads them, with scheme block by default, and `classifier` and
    `dense` where its guesses are wrong; or `masks` by weight name, such as `masks_of(model)`, which it starts with as
    they are: they say which layers are sparse and how much, and are of scheme irregular unless another is given. The
    other options are those of `make_schedule`. To resume with a model whose weights are loaded already, give the
    sparsifier's `state` of that checkpoint; then no weight is touched.
    Raises InputError, all problems with the layers at once, and has then changed nothing.
    """
    taken = {"a sparsity": sparsity is not None, "a profile": profile is not None, "method dense": method == "dense"}
    taken |= {"classifier": classifier is not None, "dense": bool(dense)}
    if masks is not None and any(taken.values()):
        given = next(what for what, is_given in taken.items() if is_given)
        raise InputError(f"masks say which layers are sparse and how much; leave {given} out, or the masks")
    if epochs is None:
        epochs = method.epochs if isinstance(method, Schedule) else PAPER_EPOCHS
    if update_every_epochs is None:
        update_every_epochs = method.update_every_epochs if isinstance(method, Schedule) else 5
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
    if masks is None:
        targets = select_targets(
            model,
            scheme or "block",
            profile=profile,
            sparsity=sparsity,
            distribution=distribution,
            classifier=classifier,
            dense=dense,
        )
        _check_optimizer(optimizer, model, targets, schedule)
        sparsifier = Sparsifier(model, targets, schedule, score=score, growth=growth, seed=seed, state=state)
        return sparsifier.attach(optimizer)
    with made_permanent(model):
        first = check_masks(model, masks)
        targets = targets_of(model, first, scheme or "irregular")
        _check_optimizer(optimizer, model, targets, schedule)
        sparsifier = Sparsifier(
            model, targets, schedule, score=score, growth=growth, seed=seed, masks=first, state=state
        )
        return sparsifier.attach(optimizer)


def _check_optimizer(
    optimizer: torch.optim.Optimizer, model: nn.Module, targets: Selection, schedule: Schedule
) -> None:
    """Raise InputError unless it trains the sparse layers' weights: before the first of them is touched."""
    weights = {} if schedule.dense else {name: bare(model).get_parameter(name) for name in targets}
    optimizers_of(optimizer, bare(model), weights)
