"""Prune and grow on one layer: tensors in, a mask and counts out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mest.sparse.growth import Growth
from mest.sparse.schemes.scheme import Scheme


@dataclass(frozen=True)
class LayerMutation:
    """What one mutation did to a layer, in weights; `units` are counted as the scheme counts them."""

    pruned_weights: int
    grown_weights: int
    kept_weights: int
    pruned_units: int
    grown_units: int
    kept_units: int

    @property
    def churn(self) -> float:
        """Grown ÷ kept weights."""
        return self.grown_weights / self.kept_weights if self.kept_weights else 0.0


@dataclass(frozen=True)
class Mutation:
    """What one mutation did, by layer."""

    epoch: int
    layers: dict[str, LayerMutation]

    @property
    def churn(self) -> float:
        """Grown ÷ kept weights over all layers."""
        kept = sum(layer.kept_weights for layer in self.layers.values())
        return sum(layer.grown_weights for layer in self.layers.values()) / kept if kept else 0.0


def first_mask(scheme: Scheme, score: Tensor, count: int) -> Tensor:
    """Bool mask with the `count` best units of a dense layer."""
    mask = scheme.open(score)
    return prune(scheme, mask, score, count)


def prune(scheme: Scheme, mask: Tensor, score: Tensor, count: int) -> Tensor:
    """Bool mask with the `count` best units of `mask`, or all of them if it has fewer; a kept unit keeps its cells."""
    alive = scheme.alive(mask)
    if count >= int(alive.count_nonzero()):
        return mask.clone()
    kept = scheme.keep(scheme.unit_scores(score * mask), alive, count)
    return mask & scheme.expand(kept, tuple(mask.shape))


def grow(
    scheme: Scheme,
    mask: Tensor,
    before: Tensor,
    weight: Tensor,
    gradient: Tensor | None,
    growth: Growth,
    count: int,
    generator: torch.Generator,
) -> Tensor:
    """Bool mask with `count` units: those of `mask` and the dead ones that the rule puts first.

    Units that were alive in `before`, the mask before this mutation's pruning, come last: what has just been removed
    does not return at once unless nothing else is left.
    """
    alive = scheme.alive(mask)
    if count <= int(alive.count_nonzero()):
        return mask.clone()
    priority = growth.priority(scheme, weight, gradient, generator)
    just_removed = scheme.alive(before) & ~alive
    grown = scheme.grow(priority.masked_fill(just_removed, torch.finfo(priority.dtype).min), alive, count)
    dense_gradient = gradient if growth.needs_dense_gradient else None
    return mask | scheme.cells(grown, tuple(mask.shape), generator, dense_gradient)


def changes(scheme: Scheme, before: Tensor, pruned: Tensor, after: Tensor) -> LayerMutation:
    """The counts of a mutation from its three masks."""
    # Pruning only removes and growing only adds, so that counts tell all.
    had, left, has = (int(scheme.alive(mask).count_nonzero()) for mask in (before, pruned, after))
    weights = scheme.unit_weights(tuple(before.shape))
    return LayerMutation(
        pruned_weights=(had - left) * weights,
        grown_weights=(has - left) * weights,
        kept_weights=has * weights,
        pruned_units=had - left,
        grown_units=has - left,
        kept_units=has,
    )
