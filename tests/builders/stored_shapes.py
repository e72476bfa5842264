"""Shapes of stored operands; known without PyTorch."""

from __future__ import annotations


def stored_shapes(shape: tuple[int, ...], features_last: bool = False) -> list[tuple[int, ...]]:
    """Shapes that a stored operand beside values of a shape may have."""
    if features_last:
        turned = (*shape[1:], shape[0])
        ones = [1] * len(turned[1:])
        return [(), (1,), turned, (1, *turned), turned[-1:], turned[1:], (*turned[:-1], 1), (*ones, shape[0])]
    found = [(), (1,), shape, (1, *shape), (shape[0], *[1] * (len(shape) - 1))]
    if len(shape) > 1:
        channels, height, width = shape
        found += [(1, channels, 1, 1), (width,), (height, 1), (1, height, width), (channels, 1, width)]
    return found
