"""How numbers come from one order into another: neighbouring stretches change places, one pair after another."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

View = tuple[int, int, int, int]  # what stays in front, the two that change places, and what stays behind


def exchanges(sizes: Sequence[int], strides: Sequence[int]) -> list[View]:
    """What leads to a row-major array of these sizes from one in which its axes have these strides.

    The strides are those of a permutation of row-major axes. In each step the numbers are seen as the four axes of a
    view, of which the middle two change places.
    """
    wanted = [axis for axis in range(len(sizes)) if sizes[axis] > 1]
    now = sorted(wanted, key=lambda axis: -strides[axis])
    found: list[View] = []
    for place, axis in enumerate(wanted):
        at = now.index(axis)
        if at == place:
            continue
        end = at + 1
        while end < len(now) and now[end] == wanted[place + end - at]:
            end += 1  # what is wanted behind it lies behind it
        parts = now[:place], now[place:at], now[at:end], now[end:]
        front, first, second, behind = (prod(sizes[one] for one in part) for part in parts)
        found.append((front, first, second, behind))
        now = [*parts[0], *parts[2], *parts[1], *parts[3]]
    return found
