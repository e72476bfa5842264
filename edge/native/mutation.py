"""Mutation of a weight in place."""

from __future__ import annotations
from edge.engine import MutationResult
from edge.native.weights import Weight

def mutate_weight(weight: Weight, prune_to: float, grow_to: float, seed: int, gradient_weight: float) -> MutationResult:
    raise NotImplementedError
