"""Pooling, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.engines.reference.operators.rule import Gradients, Rule, Tensors
from edge.engines.reference.windows import Windows
from edge.network import AvgPool, GlobalAvgPool, MaxPool, Pool


class MaxPoolRule(Rule[MaxPool]):
    """The largest value of each window."""

    def forward(
        self, op: MaxPool, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool
    ) -> np.ndarray:
        """The maximum over the taps; padding is −∞."""
        windows = _windows(op, inputs[0])
        return _taps(windows, inputs[0]).max(axis=0)

    def backward(
        self, op: MaxPool, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """The gradient goes to the first largest cell of each window, in reading order."""
        (x,), windows = inputs, _windows(op, inputs[0])
        winner = _taps(windows, x).argmax(axis=0)
        grad_padded = windows.pad(np.zeros_like(x))
        for number, (_, _, grad_seen) in enumerate(windows.taps(grad_padded)):
            grad_seen += np.where(winner == number, grad, 0)
        return [windows.inside(grad_padded).copy()], {}


class AvgPoolRule(Rule[AvgPool]):
    """The mean of each window over the cells that count."""

    def forward(
        self, op: AvgPool, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool
    ) -> np.ndarray:
        """The sum over the taps by the number of cells."""
        (x,), windows = inputs, _windows(op, inputs[0])
        total = sum(seen for _, _, seen in windows.taps(windows.pad(x)))
        return np.asarray(total / _counted(op, windows, x))

    def backward(
        self, op: AvgPool, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """Every cell of a window receives the same share."""
        (x,), windows = inputs, _windows(op, inputs[0])
        grad_padded = windows.pad(np.zeros_like(x))
        share = grad / _counted(op, windows, x)
        for _, _, grad_seen in windows.taps(grad_padded):
            grad_seen += share
        return [windows.inside(grad_padded).copy()], {}


class GlobalAvgPoolRule(Rule[GlobalAvgPool]):
    """The mean of each channel."""

    def forward(
        self, op: GlobalAvgPool, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool
    ) -> np.ndarray:
        """`(n, c, 1, 1)`."""
        return np.asarray(inputs[0].mean(axis=(2, 3), keepdims=True))

    def backward(
        self,
        op: GlobalAvgPool,
        inputs: Sequence[np.ndarray],
        tensors: Tensors,
        batch_statistics: bool,
        grad: np.ndarray,
    ) -> Gradients:
        """The same share for every pixel."""
        (x,) = inputs
        return [np.broadcast_to(grad / (x.shape[2] * x.shape[3]), x.shape)], {}


def _windows(op: Pool, x: np.ndarray) -> Windows:
    return Windows.of(x.shape, op.shape, op.kernel, op.stride, op.padding, op.spacing)


def _taps(windows: Windows, x: np.ndarray) -> np.ndarray:
    return np.stack([seen for _, _, seen in windows.taps(windows.pad(x, -np.inf))])


def _counted(op: AvgPool, windows: Windows, x: np.ndarray) -> np.ndarray:
    """Cells of each window that its mean divides by `(out_h, out_w)`."""
    counts = windows.pad(np.ones(windows.size, x.dtype))
    if op.count_include_pad:
        counts[: windows.stated[0], : windows.stated[1]] = 1
    return np.asarray(sum(seen for _, _, seen in windows.taps(counts)))
