"""What depends on how far a run has come: the learning rate, and the two sparsities of a mutation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LEARNING_RATES = ("constant", "linear", "cosine", "step")
MUTATIONS = ("none", "em", "ems")
# The published decay, epochs 90 and 120 of 160: the share of the kept weights that moves, by progress.
PHASES = ((90 / 160, 0.2), (120 / 160, 0.1))
# Where the rate falls in the published runs of 160 epochs.
MILESTONES, OF_EPOCHS = (80, 120), 160


def milestones_of(epochs: int) -> tuple[int, ...]:
    """The epochs at which the rate of a run falls unless others are given: the published ones, scaled."""
    return tuple(sorted({max(1, round(milestone * epochs / OF_EPOCHS)) for milestone in MILESTONES}))


def fallen(epoch: int, milestones: Sequence[int], gamma: float) -> float:
    """What is left of the rate in an epoch, counted from 0: `gamma` for each milestone that it has reached."""
    # Multiplied, as the C library does: the powers of two mathematical libraries may differ in their last bit.
    return math.prod((gamma for milestone in milestones if epoch >= milestone), start=1.0)


def learning_rate(kind: str, base: float, progress: float, warmup: float = 0.0, left: float = 1.0) -> float:
    """The learning rate at a progress from 0 to 1; it rises linearly during the share `warmup`.

    `left` is what step leaves of it in this epoch, as `fallen` counts it; no other kind looks at it.
    """
    if progress < warmup:
        return base * (progress / warmup if progress else 1e-3)
    rest = (progress - warmup) / (1 - warmup) if warmup < 1 else 1.0
    if kind == "linear":
        return base * (1 - rest)
    if kind == "cosine":
        return base * (1 + math.cos(math.pi * rest)) / 2
    return base * left if kind == "step" else base


@dataclass(frozen=True)
class Bounds:
    """Weight sparsities by parameter that a mutation prunes to and then grows to."""

    prune_to: dict[str, float]
    grow_to: dict[str, float]

    @property
    def at_target(self) -> bool:
        """True if nothing is grown past what was pruned: the network is at its target afterwards."""
        return self.prune_to == self.grow_to


def mutation_ratio(progress: float) -> float:
    """The share of the kept weights that a mutation moves: 0.2, 0.1, then 0 (MEST, section 3.2 and its scripts)."""
    return next((ratio for until, ratio in PHASES if progress < until), 0.0)


def mutation_bounds(kind: str, targets: Mapping[str, float], progress: float) -> Bounds:
    """EM prunes below each target and grows back to it; EM&S prunes to it and grows past it, until the last phase.

    A layer whose target is 0 has no zeros to move and keeps every weight, as in training.
    """
    ratio = mutation_ratio(progress)
    if kind == "em":
        return Bounds({name: t + ratio * (1 - t) if t else t for name, t in targets.items()}, dict(targets))
    return Bounds(dict(targets), {name: max(0.0, t - ratio * (1 - t)) for name, t in targets.items()})


def densest_sparsity(kind: str, targets: Mapping[str, float], progress: float = 0.0) -> dict[str, float]:
    """The lowest sparsity that mutation still reaches from a progress on; empty without mutation."""
    return {} if kind == "none" else mutation_bounds(kind, targets, progress).grow_to
