"""The mean of clients' weights: by samples, by dense position where masks differ, batch norms' variances pooled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.errors import InputError
from export.flower.layout import Layout, Weights
from export.flower.units import units_of


@dataclass(frozen=True, eq=False)
class Update:
    """What a client sent of a round: its weights, how many samples they saw, and scores of its units if asked for."""

    client: str
    samples: int
    weights: Weights
    scores: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)


def mean(arrays: Sequence[np.ndarray], shares: Sequence[float]) -> np.ndarray:
    """The weighted mean, float32, added up in float64; arrays of one shape, shares that sum to 1."""
    total = np.zeros(arrays[0].shape, np.float64)
    for array, share in zip(arrays, shares, strict=True):
        total += share * array.astype(np.float64)
    return total.astype(np.float32)


def pooled_variance(
    means: Sequence[np.ndarray], variances: Sequence[np.ndarray], shares: Sequence[float]
) -> np.ndarray:
    """The variance of all samples together: the mean of the variances and the variance of the means, float32.

    A plain mean of variances leaves out how far clients lie apart, which is what differs between them.
    """
    centre = sum(share * each.astype(np.float64) for share, each in zip(shares, means, strict=True))
    total = np.zeros(variances[0].shape, np.float64)
    for share, average, variance in zip(shares, means, variances, strict=True):
        total += share * (variance.astype(np.float64) + (average.astype(np.float64) - centre) ** 2)
    return total.astype(np.float32)


def shares_of(updates: Sequence[Update]) -> list[float]:
    """Each update's share of all samples; raises InputError where there are none."""
    total = sum(update.samples for update in updates)
    if total <= 0:
        raise InputError("no client trained on a sample; there is nothing to average")
    return [update.samples / total for update in updates]


def averaged(layout: Layout, updates: Sequence[Update]) -> Weights:
    """The mean of weights that all have the same masks."""
    masks = updates[0].weights.masks
    return Weights(_dense_means(layout, updates, layout.parameters), dict(masks))


def joined(layout: Layout, updates: Sequence[Update], counts: Mapping[str, int]) -> Weights:
    """The mean of weights whose masks differ, pruned back to `counts` units of each sparse parameter.

    Every position is averaged over the clients that keep it, by samples: a weight that one client alone has grown is
    not made smaller by those that lack it. Of the positions that anyone keeps, the units with the largest norm stay.
    """
    sparse, shares = layout.sparse, shares_of(updates)
    values = _dense_means(layout, updates, [name for name in layout.parameters if name not in sparse])
    masks = {}
    for name, parameter in sparse.items():
        total, held = np.zeros(parameter.size, np.float64), np.zeros(parameter.size, np.float64)
        for share, update in zip(shares, updates, strict=True):
            mask = update.weights.masks[name]
            total[mask] += share * update.weights.values[name].astype(np.float64)
            held += share * mask
        present = held > 0
        dense = np.divide(total, held, out=np.zeros_like(total), where=present).astype(np.float32)
        masks[name] = units_of(parameter).strongest(parameter, dense, present, counts[name])
        values[name] = dense[masks[name]]
    return Weights({name: values[name] for name in layout.parameters}, masks)


def _dense_means(layout: Layout, updates: Sequence[Update], names: Sequence[str] | Mapping[str, object]) -> dict:
    """The mean of each of these parameters, which has one length in all updates."""
    shares, found = shares_of(updates), {}
    for name in names:
        arrays = [update.weights.values[name] for update in updates]
        if name in layout.variances:
            means = [update.weights.values[layout.variances[name]] for update in updates]
            found[name] = pooled_variance(means, arrays, shares)
        else:
            found[name] = mean(arrays, shares)
    return found
