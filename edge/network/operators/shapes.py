"""Sizes of values and of windows over images, without the batch."""

from __future__ import annotations

Pair = tuple[int, int]  # height, width
Padding = tuple[int, int, int, int]  # top, left, bottom, right
Shape = tuple[int, ...]  # without the batch


class ShapeError(ValueError):
    """An operator cannot take the shapes it is given."""


def image(shape: Shape) -> tuple[int, int, int]:
    """Channels, height and width; raises ShapeError for anything that is not an image."""
    if len(shape) != 3:
        raise ShapeError(f"expected an input (channels, height, width), not {list(shape)}")
    return shape[0], shape[1], shape[2]


def aligned(stored: Shape, value: Shape) -> Shape:
    """A stored tensor's shape beside values of a shape: as many dimensions, and the batch's, which is 1, left out."""
    if len(stored) > len(value) + 1 or (len(stored) == len(value) + 1 and stored[0] != 1):
        raise ShapeError(f"a tensor of shape {list(stored)} does not fit values of shape {list(value)}")
    if len(stored) == len(value) + 1:
        return stored[1:]
    return (1,) * (len(value) - len(stored)) + stored


def first_to_last(shape: Shape) -> Shape:
    """The shape with its first dimension, the channels or features, behind the others."""
    return (*shape[1:], shape[0])


def last_to_first(shape: Shape) -> Shape:
    """The shape with its last dimension, the channels or features, before the others."""
    return (shape[-1], *shape[:-1])


def broadcast(left: Shape, right: Shape) -> Shape:
    """What two shapes of the same rank become together, where a dimension of 1 is repeated."""
    pairs = list(zip(left, right, strict=True))
    if any(first != second and 1 not in (first, second) for first, second in pairs):
        raise ShapeError(f"shapes {list(left)} and {list(right)} cannot be broadcast to one another")
    return tuple(max(pair) for pair in pairs)


def windows(
    size: Pair, kernel: Shape, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool = False
) -> tuple[int, int]:
    """Number of windows per axis, by PyTorch's rule; raises ShapeError if not one fits."""
    counts = []
    for axis in (0, 1):
        before, after = padding[axis], padding[axis + 2]
        room = size[axis] + before + after - dilation[axis] * (kernel[axis] - 1) - 1
        if room < 0:
            raise ShapeError(f"a kernel of {list(kernel)} with dilation {list(dilation)} does not fit {list(size)}")
        count = room // stride[axis] + 1
        if ceil_mode:
            count = -(-room // stride[axis]) + 1
            # The last window must start inside the image or the padding before it.
            if (count - 1) * stride[axis] >= size[axis] + before:
                count -= 1
        counts.append(count)
    return counts[0], counts[1]
