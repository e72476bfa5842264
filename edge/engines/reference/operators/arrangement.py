"""Operators that arrange numbers, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.engines.reference.operators.rule import Gradients, Rule, Tensors
from edge.network import Operator, Select
from edge.network.operators.arrangement import Transpose


class ReshapeRule(Rule[Operator]):
    """The same numbers in the shape that the operator writes."""

    def forward(
        self, op: Operator, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool
    ) -> np.ndarray:
        """Each sample in that shape."""
        return inputs[0].reshape(len(inputs[0]), *op.shape)

    def backward(
        self, op: Operator, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """The input's shape again."""
        return [grad.reshape(inputs[0].shape)], {}


class TransposeRule(Rule[Transpose]):
    """Two axes of a view of four."""

    def forward(
        self, op: Transpose, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool
    ) -> np.ndarray:
        """The numbers in their new order."""
        x = inputs[0].reshape(-1, *op.view).swapaxes(2, 3)
        return x.reshape(len(inputs[0]), *op.shape)

    def backward(
        self, op: Transpose, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """Back again."""
        outer, first, second, inner = op.view
        return [grad.reshape(-1, outer, second, first, inner).swapaxes(2, 3).reshape(inputs[0].shape)], {}


class SelectRule(Rule[Select]):
    """The listed channels."""

    def forward(self, op: Select, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool) -> np.ndarray:
        """`(n, kept, ...)`."""
        return np.asarray(inputs[0][:, tensors["channels"]])

    def backward(
        self, op: Select, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """Zero where nothing was read."""
        grad_x = np.zeros_like(inputs[0])
        # Added, not written: a channel may be listed more than once.
        np.add.at(grad_x.swapaxes(0, 1), tensors["channels"], grad.swapaxes(0, 1))
        return [grad_x], {}
