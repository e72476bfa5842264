"""Pieces of images as the library takes them: each as large as planned."""

from __future__ import annotations

import numpy as np


def filled_up(images: np.ndarray, begin: int, size: int) -> np.ndarray:
    """A piece of `size` images from number `begin` on.

    Its end is what else their buffer holds, such as the images of the batch before: a copy of large images would be
    the largest thing that an evaluation takes. Where the buffer ends before, they are copied and followed by zeros.
    """
    buffer, row = images.base, images[0].nbytes
    if isinstance(buffer, np.ndarray) and buffer.dtype == np.float32 and buffer.flags.c_contiguous:
        place, beyond = divmod(images.ctypes.data - buffer.ctypes.data, row)
        if buffer.shape[1:] == images.shape[1:] and not beyond and place + begin + size <= len(buffer):
            return buffer[place + begin : place + begin + size]
    filled = np.zeros((size, *images.shape[1:]), np.float32)
    filled[: len(images) - begin] = images[begin:]
    return filled
