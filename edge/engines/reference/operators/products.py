"""Products of two values and softmax, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.engines.reference.operators.rule import Gradients, Rule, Tensors
from edge.network.operators.products import MatMul, Softmax


class MatMulRule(Rule[MatMul]):
    """A product for each sample and channel."""

    def forward(self, op: MatMul, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool) -> np.ndarray:
        """`(n, c, m, n)`."""
        first, second = inputs
        return np.asarray(_turned(first, op.first_turned) @ _turned(second, op.second_turned))

    def backward(
        self, op: MatMul, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """The gradient times the other one, turned."""
        first, second = _turned(inputs[0], op.first_turned), _turned(inputs[1], op.second_turned)
        of_first, of_second = grad @ second.swapaxes(-1, -2), first.swapaxes(-1, -2) @ grad
        return [_turned(of_first, op.first_turned), _turned(of_second, op.second_turned)], {}


class SoftmaxRule(Rule[Softmax]):
    """Along the last axis."""

    def forward(
        self, op: Softmax, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool
    ) -> np.ndarray:
        """`(n, c, h, w)`."""
        grown = np.exp(inputs[0] - inputs[0].max(axis=-1, keepdims=True))
        return np.asarray(grown / grown.sum(axis=-1, keepdims=True))

    def backward(
        self, op: Softmax, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """y · (g − Σ y g)."""
        y = self.forward(op, inputs, tensors, batch_statistics)
        return [y * (grad - (y * grad).sum(axis=-1, keepdims=True))], {}


def _turned(matrix: np.ndarray, turn: bool) -> np.ndarray:
    return matrix.swapaxes(-1, -2) if turn else matrix
