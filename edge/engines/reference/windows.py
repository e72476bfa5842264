"""Convolution and pooling as sums over the cells ("taps") of a kernel: what each tap of all windows sees at once.

For the tap (i, j), windows see the padded image at rows i·dilation + stride·(0, 1, 2 …), and columns likewise: one
strided view. Forward, input gradient and weight gradient are then the same loop with the roles exchanged.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge.network.operators import Padding, Pair, Shape


class Windows:
    """The windows of one operator over images of a given size."""

    def __init__(self, size: Pair, out: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> None:
        self.size, self.out, self.kernel, self.stride, self.dilation = size, out, kernel, stride, dilation
        top, left, bottom, right = padding
        # ceil_mode lets the last window reach beyond the padding.
        reach = [(out[axis] - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1 for axis in (0, 1)]
        self.before = (top, left)
        self.stated = (top + size[0] + bottom, left + size[1] + right)
        self.padded = (max(self.stated[0], reach[0]), max(self.stated[1], reach[1]))

    @classmethod
    def of(
        cls, values: Shape, written: Shape, kernel: Shape, stride: Pair, padding: Padding, dilation: Pair
    ) -> Windows:
        """The windows from values of shape `(n, c, h, w)` to ones of `(c, h, w)` a sample."""
        (height, width), (rows, columns) = values[2:], written[1:]
        return cls((height, width), (rows, columns), (kernel[0], kernel[1]), stride, padding, dilation)

    def pad(self, x: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """The images `(..., h, w)` within their padding."""
        padded = np.full((*x.shape[:-2], *self.padded), fill, x.dtype)
        self.inside(padded)[...] = x
        return padded

    def inside(self, padded: np.ndarray) -> np.ndarray:
        """The image part of padded images, a view."""
        (top, left), (height, width) = self.before, self.size
        return padded[..., top : top + height, left : left + width]

    def taps(self, padded: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
        """For each cell of the kernel, row by row: its place and the view `(..., out_h, out_w)` that windows see."""
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                y, x = i * self.dilation[0], j * self.dilation[1]
                rows = slice(y, y + (self.out[0] - 1) * self.stride[0] + 1, self.stride[0])
                columns = slice(x, x + (self.out[1] - 1) * self.stride[1] + 1, self.stride[1])
                yield i, j, padded[..., rows, columns]
