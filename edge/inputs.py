"""What a model takes: images, windows of samples or vectors of features, and the image that each is in the network."""

from __future__ import annotations

Shape = tuple[int, ...]  # (channels, height, width), (channels, length) or (features,)


def as_image(shape: Shape) -> tuple[int, int, int]:
    """Channels, height and width in the network: a window has height 1, a vector is one pixel of many channels.

    Raises ValueError for other numbers of dimensions than one to three.
    """
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    if len(shape) not in (1, 2):
        raise ValueError(f"{list(shape)}: expected (channels, height, width), (channels, length) or (features,)")
    return shape[0], 1, shape[1] if len(shape) == 2 else 1
