"""Mutation in place of a weight that the engine holds: the shared prune-and-grow, then the derived lists anew."""

from __future__ import annotations

from dataclasses import replace

from edge.engines.engine import MutationResult
from edge.engines.native.layout import WeightLayout
from edge.engines.native.weights import TRANSPOSED_ENTRIES, TRANSPOSING_BYTES, Weight
from edge.weight.mutation import Slots, mutate, mutation_bytes
from edge.weight.parameter import Parameter
from edge.weight.units import unit_weights


def mutate_weight(
    weight: Weight, prune_to: float, grow_to: float, seed: int, gradient_weight: float = 0.0
) -> MutationResult:
    """Weights removed and grown. Values and optimizer state of survivors stay bit for bit, grown weights start at 0.

    Raises InputError where the format cannot mutate, or where there is no room for the weights asked for.
    """
    parameter = held_as(weight.layout.parameter)
    units = weight.count // unit_weights(parameter)
    slots = Slots(
        weight.values, weight.lists_with_room(), units, weight.state, weight.gradient if weight.trained else None
    )
    done = mutate(parameter, slots, prune_to, grow_to, seed, gradient_weight)
    weight.count = done.units * unit_weights(parameter)
    weight.adopt_lists(slots.indices)
    if weight.trained:
        weight.gradient[:] = 0  # it belonged to the weights before
    return MutationResult(done.removed_weights, done.grown_weights)


def held_as(parameter: Parameter) -> Parameter:
    """The parameter in the format that the engine holds: a masked weight is held as csr."""
    return replace(parameter, format="csr", coding=None) if parameter.format == "masked" else parameter


def passing_bytes(layout: WeightLayout) -> int:
    """An upper bound of what mutating this weight allocates for a moment."""
    parameter = held_as(layout.parameter)
    transposing = TRANSPOSING_BYTES * min(layout.entries, TRANSPOSED_ENTRIES)
    return mutation_bytes(parameter, layout.capacity // unit_weights(parameter)) + transposing
