"""From a run's config to what keeps its model sparse."""

from __future__ import annotations

from torch import nn

from mest.sparse import MagnitudeGradient, Schedule, Score, Selection, Sparsifier, make_schedule, select_targets
from mest.train.config import SparseConfig, TrainConfig


def schedule_of(config: SparseConfig, epochs: int) -> Schedule:
    """Return the phases that the config asks for; raises InputError where bounds, epochs and method do not agree."""
    return make_schedule(
        config.method,
        epochs,
        update_every_epochs=config.update_every_epochs,
        lower_bound=config.prune_to,
        upper_bound=config.grow_to,
        decay_epochs=config.decay_epochs,
    )


def build_sparsifier(model: nn.Module, config: TrainConfig) -> Sparsifier:
    """Return what keeps `model` sparse, its first masks applied; raises InputError with all layers' problems."""
    sparse = config.sparse
    schedule = schedule_of(sparse, config.epochs)
    targets = Selection({}) if schedule.dense else _targets(model, sparse)
    score: Score | str | None = sparse.score
    if sparse.gradient_weight is not None:
        score = MagnitudeGradient(sparse.gradient_weight)
    return Sparsifier(model, targets, schedule, score=score, growth=sparse.growth, seed=config.seed)


def _targets(model: nn.Module, config: SparseConfig) -> Selection:
    if config.profile is not None:
        return select_targets(model, config.scheme, profile=config.profile)
    return select_targets(model, config.scheme, sparsity=config.sparsity, distribution=config.distribution)
