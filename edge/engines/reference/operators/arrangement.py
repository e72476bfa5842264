"""Operators that arrange numbers, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.engines.reference.operators.rule import Gradients, Rule, Tensors
from edge.network import Flatten, Select
from edge.network.operators.arrangement import Reshape


class FlattenRule(Rule[Flatten]):
    """All of a sample in one row."""

    def forward(
        self, op: Flatten, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool
    ) -> np.ndarray:
        """`(n, c·h·w)`."""
        return inputs[0].reshape(len(inputs[0]), -1)

    def backward(
        self, op: Flatten, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """`(n, c, h, w)` again."""
        return [grad.reshape(inputs[0].shape)], {}


class ReshapeRule(Rule[Reshape]):
    """Positions in another number of rows."""

    def forward(
        self, op: Reshape, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool
    ) -> np.ndarray:
        """`(n, c, height, width)`."""
        return inputs[0].reshape(len(inputs[0]), *op.shape)

    def backward(
        self, op: Reshape, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """In the rows that they were in."""
        return [grad.reshape(inputs[0].shape)], {}


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
