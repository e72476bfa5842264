"""Mutation in place of a weight that the engine holds, by the library: edge/libmest/src/mutation.c."""

from __future__ import annotations

from ctypes import byref
from dataclasses import dataclass

import numpy as np

from edge.engines.engine import MutationResult
from edge.engines.native.weights import Weight, held_as
from edge.errors import DamagedError, InputError
from edge.libmest import program as structs
from edge.libmest.library import load_library
from edge.libmest.vocabulary import DONE, NOT_FINITE
from edge.weight.units import mutation_counts, refuse_unfit, unit_weights


@dataclass(frozen=True)
class Counts:
    """Units of a weight after pruning, and after growing."""

    left: int
    grown: int


def counted(weight: Weight, prune_to: float, grow_to: float) -> Counts:
    """Units that a mutation leaves and grows to; raises InputError where the format cannot mutate, or has no room."""
    parameter = held_as(weight.layout.parameter)
    refuse_unfit(parameter)
    left, grown = mutation_counts(parameter, prune_to, grow_to)
    needed = max(grown, min(left, weight.count // unit_weights(parameter))) * unit_weights(parameter)
    if needed > weight.layout.capacity:
        raise InputError(
            f"{parameter.name}: growing needs room for {needed} weights and {weight.layout.capacity} were planned; "
            "plan with the sparsity of the densest phase"
        )
    return Counts(left, grown)


def mutate_weight(
    weight: Weight, counts: Counts, seed: int, gradient_weight: float, scratch: np.ndarray
) -> MutationResult:
    """Weights removed and grown. Values and optimizer state of survivors stay bit for bit, grown weights start at 0.

    Raises InputError for weights that are not finite. `scratch` has the bytes that `layout.mutation_bytes` counts.
    """
    described = weight.described()
    asked = structs.Mutation(left=counts.left, grown=counts.grown, seed=seed, gradient_weight=gradient_weight)
    asked.scratch, asked.scratch_bytes = scratch.ctypes.data, scratch.nbytes
    end = load_library().mest_mutate(byref(described), byref(asked))
    if end == NOT_FINITE:
        raise InputError(f"{weight.name}: weights or gradients are not finite; lower the learning rate")
    if end != DONE:
        raise DamagedError(f"state: the index lists of {weight.name} do not ascend; export the artifact again")
    weight.count = described.count
    return MutationResult(asked.removed, asked.added)
