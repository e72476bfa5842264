"""Padding and resizing as products with a matrix for the rows and one for the columns, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.engines.reference.operators.rule import Gradients, Rule, Tensors
from edge.network.operators.resampling import Resample


class ResampleRule(Rule[Resample]):
    """R · x · Cᵀ."""

    def forward(
        self, op: Resample, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool
    ) -> np.ndarray:
        """`(n, c, h, w)` with the new height and width."""
        (x,), (rows, columns) = inputs, _matrices(op, inputs[0])
        return np.asarray(rows @ x @ columns.T)

    def backward(
        self, op: Resample, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """Rᵀ · g · C."""
        rows, columns = _matrices(op, inputs[0])
        return [rows.T @ grad @ columns], {}


def _matrices(op: Resample, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height, width = x.shape[2:]
    return op.taps(0, height).matrix().astype(x.dtype), op.taps(1, width).matrix().astype(x.dtype)
