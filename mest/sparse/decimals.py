"""Sparsities and whole numbers as a person typed them.

A sparsity is taken as the decimal that is printed, not as the nearest binary fraction: 0.9 of 10 weights removes
exactly 9 and keeps 1, where binary arithmetic says 0.
"""

from __future__ import annotations

from fractions import Fraction
from operator import index

from mest.errors import InputError

Number = float | int | str | Fraction


def exact(value: Number) -> Fraction:
    """The fraction that `value` prints as: 0.9 gives 9/10. Raises InputError for what is no finite number."""
    if isinstance(value, Fraction):
        return value
    try:
        return Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise InputError(f"{value!r} is not a number; give a decimal such as 0.9") from None


def whole_number(value: object, what: str, least: int) -> int:
    """`value` as a plain int, NumPy's included. Raises InputError, in which `what` names the value."""
    try:
        number = index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise InputError(f"{what}: {value} given; whole numbers from {least} are allowed")
    return number


def check_sparsity(value: Number, what: str) -> Fraction:
    """`value` as an exact weight sparsity, 0 ≤ s < 1. Raises InputError, in which `what` names the value."""
    sparsity = exact(value)
    if not 0 <= sparsity < 1:
        raise InputError(f"{what}: {value} is not a weight sparsity; give 0 or more and less than 1, such as 0.9")
    return sparsity


def weights_of(shape: tuple[int, ...]) -> int:
    """Number of weights in a tensor of this shape."""
    product = 1
    for extent in shape:
        product *= extent
    return product
