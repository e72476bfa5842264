"""How many units a layer keeps: the one place where weight sparsity becomes a count.

Sparsities are decimals that a person typed, so they are taken as the decimal that is printed, not as the nearest
binary fraction: 0.9 of 10 weights removes exactly 9 and keeps 1, where binary arithmetic says 0.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from mest.errors import InputError

if TYPE_CHECKING:
    from mest.sparse.schedule import Phase
    from mest.sparse.scheme import Scheme

Number = float | int | str | Fraction


def exact(value: Number) -> Fraction:
    """The fraction that `value` prints as: 0.9 gives 9/10. Raises InputError for what is no finite number."""
    if isinstance(value, Fraction):
        return value
    try:
        return Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise InputError(f"{value!r} is not a number; give a decimal such as 0.9") from None


def check_sparsity(value: Number, what: str) -> Fraction:
    """`value` as an exact weight sparsity, 0 ≤ s < 1. Raises InputError, in which `what` names the value."""
    sparsity = exact(value)
    if not 0 <= sparsity < 1:
        raise InputError(f"{what}: {value} is not a weight sparsity; give 0 or more and less than 1, such as 0.9")
    return sparsity


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


def weights_of(shape: tuple[int, ...]) -> int:
    """Number of weights in a tensor of this shape."""
    product = 1
    for extent in shape:
        product *= extent
    return product
