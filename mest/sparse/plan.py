"""What a schedule asks of each sparse layer, in units, and whether the layers can have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor, nn

from mest.errors import InputError
from mest.sparse.counts import kept_units, phase_counts
from mest.sparse.decimals import exact
from mest.sparse.layers import Target, layer_problem, layers_of
from mest.sparse.schedule import Schedule
from mest.sparse.schemes.scheme import Scheme


@dataclass(frozen=True)
class LayerPlan:
    """One layer of a run: how many units it keeps when."""

    scheme: Scheme
    shape: tuple[int, ...]
    weight_sparsity: float
    schedule: Schedule

    @property
    def target(self) -> Fraction:
        """The weight sparsity that the layer ends at."""
        return self.schedule.target(self.weight_sparsity)

    @property
    def target_units(self) -> int:
        """The units that it ends with."""
        return kept_units(self.scheme, self.shape, self.target)

    def units_in_force(self, epoch: int) -> int:
        """The most units that it may have during an epoch."""
        return kept_units(self.scheme, self.shape, self.schedule.in_force(epoch, self.weight_sparsity))

    def phase_units(self, epoch: int) -> tuple[int, int]:
        """Units after pruning and after growing, where a mutation is due."""
        return phase_counts(self.scheme, self.shape, self.schedule.phase(epoch, self.weight_sparsity))

    def kept_units(self, mask: Tensor) -> int:
        """The units that have weights in the mask."""
        return int(self.scheme.alive(mask).count_nonzero())


def plan_layers(model: nn.Module, targets: Mapping[str, Target], schedule: Schedule) -> dict[str, LayerPlan]:
    """The plan of every target by name. Raises InputError with everything that does not fit together."""
    known = {layer.name: layer for layer in layers_of(model)}
    problems = []
    for name, target in targets.items():
        if name not in known:
            problems.append(f"{name}: the model has no convolution or linear weight of this name")
        elif problem := layer_problem(known[name], target.scheme, _densest_asked(target, schedule)):
            problems.append(f"{name}: {problem}")
    unequal = sorted({target.weight_sparsity for target in targets.values()})
    if schedule.bounds and len(unequal) > 1:
        problems.append(
            f"explicit bounds hold for every layer, but the targets reach from {unequal[0]} to {unequal[-1]};"
            " leave the bounds out, so that each layer's own target yields them"
        )
    if problems:
        raise InputError("; ".join(problems))
    return {
        name: LayerPlan(target.scheme, known[name].shape, target.weight_sparsity, schedule)
        for name, target in targets.items()
    }


def _densest_asked(target: Target, schedule: Schedule) -> Fraction:
    """The lowest sparsity that a person asked of a layer; what a method derives from a target is capped instead."""
    bounds = schedule.bounds
    return min(phase.grow_to for phase in bounds) if bounds else exact(target.weight_sparsity)
