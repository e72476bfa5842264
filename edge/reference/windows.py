"""Convolution and pooling as sums over the cells ("taps") of a kernel: what each tap of all windows sees at once.

For the tap (i, j), windows see the padded image at rows i·dilation + stride·(0, 1, 2 …), and columns likewise: one
strided view. Forward, input gradient and weight gradient are then the same loop with the roles exchanged.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge.network import AvgPool, Conv, MaxPool
from edge.network.operators import Padding, Pair


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


def windows_of(op: Conv | MaxPool | AvgPool, image: tuple[int, ...], kernel: tuple[int, ...]) -> Windows:
    """The windows of an operator over values of shape `(n, c, h, w)`."""
    dilation = (1, 1) if isinstance(op, AvgPool) else op.dilation
    height, width = image[2:]
    return Windows((height, width), (op.shape[1], op.shape[2]), (kernel[0], kernel[1]), op.stride, op.padding, dilation)


def conv(op: Conv, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """`(n, out, h, w)`: y[o] = Σ over taps and channels of the group of w[o, c, i, j] · x_tap[c], plus the bias."""
    windows = windows_of(op, x.shape, weight.shape[2:])
    y = np.zeros((x.shape[0], op.groups, op.shape[0] // op.groups, op.shape[1] * op.shape[2]), x.dtype)
    for i, j, seen in windows.taps(windows.pad(x)):
        y += _by_group(weight, op.groups)[..., i, j] @ _flat(seen, op.groups)
    y = y.reshape(x.shape[0], *op.shape)
    return y if bias is None else y + bias[:, None, None]


def conv_gradients(
    op: Conv, x: np.ndarray, weight: np.ndarray, grad: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of a convolution's input, weight and bias."""
    windows = windows_of(op, x.shape, weight.shape[2:])
    grad_padded = windows.pad(np.zeros_like(x))
    grad_weight = np.zeros_like(weight)
    flat = _flat(grad, op.groups)
    taps = zip(windows.taps(windows.pad(x)), windows.taps(grad_padded), strict=True)
    for (i, j, seen), (_, _, grad_seen) in taps:
        tap = _by_group(weight, op.groups)[..., i, j]
        grad_seen += (tap.swapaxes(-1, -2) @ flat).reshape(grad_seen.shape)
        products = flat @ _flat(seen, op.groups).swapaxes(-1, -2)  # (n, groups, out, in)
        grad_weight[..., i, j] = products.sum(axis=0).reshape(weight.shape[:2])
    return windows.inside(grad_padded).copy(), grad_weight, grad.sum(axis=(0, 2, 3))


def max_pool(op: MaxPool, x: np.ndarray) -> np.ndarray:
    """The largest value of each window."""
    windows = windows_of(op, x.shape, op.kernel)
    return np.stack([seen for _, _, seen in windows.taps(windows.pad(x, -np.inf))]).max(axis=0)


def max_pool_gradient(op: MaxPool, x: np.ndarray, grad: np.ndarray) -> np.ndarray:
    """The gradient goes to the first largest cell of each window, in reading order."""
    windows = windows_of(op, x.shape, op.kernel)
    winner = np.stack([seen for _, _, seen in windows.taps(windows.pad(x, -np.inf))]).argmax(axis=0)
    grad_padded = windows.pad(np.zeros_like(x))
    for number, (_, _, grad_seen) in enumerate(windows.taps(grad_padded)):
        grad_seen += np.where(winner == number, grad, 0)
    return windows.inside(grad_padded).copy()


def avg_pool(op: AvgPool, x: np.ndarray) -> np.ndarray:
    """The mean of each window over the cells that count."""
    windows = windows_of(op, x.shape, op.kernel)
    total = sum(seen for _, _, seen in windows.taps(windows.pad(x)))
    return np.asarray(total / _counted(op, windows, x))


def avg_pool_gradient(op: AvgPool, x: np.ndarray, grad: np.ndarray) -> np.ndarray:
    """Every cell of a window receives the same share."""
    windows = windows_of(op, x.shape, op.kernel)
    grad_padded = windows.pad(np.zeros_like(x))
    share = grad / _counted(op, windows, x)
    for _, _, grad_seen in windows.taps(grad_padded):
        grad_seen += share
    return windows.inside(grad_padded).copy()


def _counted(op: AvgPool, windows: Windows, x: np.ndarray) -> np.ndarray:
    """Cells of each window that its mean divides by `(out_h, out_w)`."""
    counts = windows.pad(np.ones(windows.size, x.dtype))
    if op.count_include_pad:
        counts[: windows.stated[0], : windows.stated[1]] = 1
    return np.asarray(sum(seen for _, _, seen in windows.taps(counts)))


def _by_group(weight: np.ndarray, groups: int) -> np.ndarray:
    """A weight as `(groups, out/groups, in/groups, kh, kw)`."""
    return weight.reshape(groups, -1, *weight.shape[1:])


def _flat(values: np.ndarray, groups: int) -> np.ndarray:
    """Images as `(n, groups, c/groups, h·w)`."""
    return values.reshape(values.shape[0], groups, values.shape[1] // groups, -1)
