"""How one sparsity is spread over layers of different shapes."""

from __future__ import annotations

from fractions import Fraction
from math import floor

from mest.errors import InputError
from mest.sparse.decimals import weights_of


def erk_sparsities(
    shapes: dict[str, tuple[int, ...]], sparsity: Fraction, densest: Fraction = Fraction(0)
) -> dict[str, float]:
    """Weight sparsity by layer after Erdős–Rényi-kernel: density in proportion to sum ÷ product of the shape.

    The kept weights of all layers together are (1−s) of all their weights, rounded down by less than one in a
    thousand of a layer. A layer that would get more than the scheme's densest gets that (0: it stays dense), and the
    others share the rest (Evci et al., Rigging the Lottery, section 3).
    """
    weights = {name: weights_of(shape) for name, shape in shapes.items()}
    raw = {name: Fraction(sum(shape), weights[name]) for name, shape in shapes.items()}
    most = 1 - densest
    wanted = (1 - sparsity) * sum(weights.values())
    full: set[str] = set()
    while True:
        free = [name for name in shapes if name not in full]
        rest = wanted - most * sum(weights[name] for name in full)
        if not free:
            break
        scale = rest / sum(raw[name] * weights[name] for name in free)
        over = {name for name in free if raw[name] * scale > most}
        if not over:
            break
        full |= over
    densities = {name: most if name in full else raw[name] * scale for name in shapes}
    if min(densities.values()) <= 0:
        raise InputError(f"sparsity {float(sparsity)} cannot be spread by erk over these layers; use uniform")
    # Sparsity is rounded up to four decimals, density therefore down: the whole never exceeds what was asked.
    return {name: float(1 - Fraction(max(1, floor(density * 10_000)), 10_000)) for name, density in densities.items()}
