"""Tokens that are stored, and positions that are picked, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.engines.reference.operators.rule import Gradients, Rule, Tensors
from edge.network.operators.tokens import Positions, Prepend, SelectPositions


class PrependRule(Rule[Prepend]):
    """Stored tokens in front."""

    def forward(
        self, op: Prepend, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool
    ) -> np.ndarray:
        """`(n, c, 1, k + h·w)`."""
        x = inputs[0].reshape(*inputs[0].shape[:2], 1, -1)
        stored = tensors["tokens"].reshape(-1, x.shape[1]).T[None, :, None]
        return np.concatenate([np.repeat(stored, len(x), axis=0), x], axis=3)

    def backward(
        self, op: Prepend, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """To the tokens summed over the batch."""
        stored = tensors["tokens"]
        front = stored.size // grad.shape[1]
        of_tokens = grad[:, :, 0, :front].sum(axis=0).T.reshape(stored.shape)
        return [grad[:, :, :, front:].reshape(inputs[0].shape)], {"tokens": of_tokens}


class PositionsRule(Rule[Positions]):
    """Some positions that follow one another."""

    def forward(
        self, op: Positions, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool
    ) -> np.ndarray:
        """`(n, c, 1, count)`."""
        x = inputs[0].reshape(*inputs[0].shape[:2], 1, -1)
        return np.asarray(x[..., op.first : op.first + op.count])

    def backward(
        self, op: Positions, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """Zero where nothing was read."""
        x = inputs[0]
        whole = np.zeros((*x.shape[:2], 1, x.shape[2] * x.shape[3]), x.dtype)
        whole[..., op.first : op.first + op.count] = grad
        return [whole.reshape(x.shape)], {}


class SelectPositionsRule(Rule[SelectPositions]):
    """The listed positions."""

    def forward(
        self, op: SelectPositions, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool
    ) -> np.ndarray:
        """`(n, c, 1, listed)`."""
        x = inputs[0].reshape(*inputs[0].shape[:2], 1, -1)
        return np.asarray(x[..., tensors["listed"]])

    def backward(
        self,
        op: SelectPositions,
        inputs: Sequence[np.ndarray],
        tensors: Tensors,
        batch_statistics: bool,
        grad: np.ndarray,
    ) -> Gradients:
        """Zero where nothing was read."""
        x = inputs[0]
        whole = np.zeros((*x.shape[:2], 1, x.shape[2] * x.shape[3]), x.dtype)
        whole[..., tensors["listed"]] = grad
        return [whole.reshape(x.shape)], {}
