"""From a run's config to what keeps its model sparse."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor, nn

from mest.errors import InputError
from mest.sparse import MagnitudeGradient, Schedule, Score, Selection, Sparsifier, make_schedule, select_targets
from mest.sparse.given_masks import of_whole_units
from mest.train.config import SparseConfig, TrainConfig

UNREAD = "forward never uses it"


def schedule_of(config: SparseConfig, epochs: int) -> Schedule:
    """Return the phases that the config asks for; raises InputError where bounds, epochs and method do not agree."""
    return make_schedule(
        config.method,
        max(1, epochs),  # a run of none is pruned like one of any length
        update_every_epochs=config.update_every_epochs,
        lower_bound=config.prune_to,
        upper_bound=config.grow_to,
        decay_epochs=config.decay_epochs,
    )


def build_sparsifier(
    model: nn.Module,
    config: TrainConfig,
    masks: Mapping[str, Tensor] | None = None,
    unread: Collection[str] = (),
) -> Sparsifier:
    """Return what keeps `model` sparse, its first masks applied, `masks` where they are given.

    Layers whose weight is `unread` by the model's forward stay dense. Raises InputError with all layers' problems.
    """
    sparse = config.sparse
    schedule = schedule_of(sparse, config.epochs)
    targets = Selection({}) if schedule.dense else _without(unread, _targets(model, sparse))
    score: Score | str | None = sparse.score
    if sparse.gradient_weight is not None:
        score = MagnitudeGradient(sparse.gradient_weight)
    given = {name: mask for name, mask in (masks or {}).items() if name in targets}
    if odd := [name for name, mask in given.items() if not of_whole_units(targets[name].scheme, mask)]:
        raise InputError(
            f"--from: the masks of {', '.join(odd[:3])} are not made of whole units of scheme "
            f"{targets[odd[0]].scheme}; begin with the run's own --scheme"
        )
    return Sparsifier(model, targets, schedule, score=score, growth=sparse.growth, seed=config.seed, masks=given)


def _without(unread: Collection[str], selection: Selection) -> Selection:
    left = {name: target for name, target in selection.items() if name not in unread}
    if selection and not left:
        raise InputError(f"{', '.join(selection)}: forward never uses these layers, and no other was to be sparse")
    dense = {name: UNREAD for name in selection if name not in left}
    return Selection(left, {**selection.dense, **dense}) if dense else selection


def _targets(model: nn.Module, config: SparseConfig) -> Selection:
    if config.profile is not None:
        return select_targets(model, config.scheme, profile=config.profile)
    return select_targets(model, config.scheme, sparsity=config.sparsity, distribution=config.distribution)
