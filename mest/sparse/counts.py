"""How many units a layer keeps: the one place where weight sparsity becomes a count."""

from __future__ import annotations

from mest.sparse.decimals import Number, exact, weights_of
from mest.sparse.schedule import Phase
from mest.sparse.schemes.scheme import Scheme


def kept_units(scheme: Scheme, shape: tuple[int, ...], sparsity: Number) -> int:
    """Units that a layer keeps at a weight sparsity: max(1, ⌊(1−s)·weights / weights per kept unit⌋), at most all.

    A kept pattern kernel holds 4 weights of 9, so weight sparsity 0.9 keeps 0.225 of the kernels.
    """
    kept = (1 - exact(sparsity)) * weights_of(shape) / scheme.unit_weights(shape)
    return min(max(1, kept.numerator // kept.denominator), scheme.units(shape))


def phase_counts(scheme: Scheme, shape: tuple[int, ...], phase: Phase) -> tuple[int, int]:
    """Units kept after pruning and after growing in one phase.

    Where both bounds of a mutating phase round to the same count, one unit is still swapped: with few units (often
    channels) a layer would otherwise never explore. A layer that keeps a single unit keeps that one: swapping it would
    set the whole layer to zero at every mutation.
    """
    prune, grow = kept_units(scheme, shape, phase.prune_to), kept_units(scheme, shape, phase.grow_to)
    if phase.mutates and prune == grow and 1 < grow < scheme.units(shape):
        prune -= 1
    return prune, grow
