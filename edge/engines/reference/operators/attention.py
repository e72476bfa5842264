"""Attention, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.engines.reference.operators.rule import Gradients, Rule, Tensors
from edge.network.operators.attention import Attention


class AttentionRule(Rule[Attention]):
    """softmax(scale · q kᵀ) v, with q, k and v as (n, heads, features of one, positions)."""

    def forward(
        self, op: Attention, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool
    ) -> np.ndarray:
        """`(n, features, h, w)`."""
        query, key, value = _heads(op, inputs[0])
        return (value @ _weights(op, query, key).swapaxes(-1, -2)).reshape(len(inputs[0]), *op.shape)

    def backward(
        self, op: Attention, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """Through the weights, whose rows add up to 1."""
        query, key, value = _heads(op, inputs[0])
        weights, grad = _weights(op, query, key), grad.reshape(value.shape)
        of_weights = grad.swapaxes(-1, -2) @ value
        of_scores = weights * (of_weights - (of_weights * weights).sum(axis=-1, keepdims=True)) * op.scale
        parts = key @ of_scores.swapaxes(-1, -2), query @ of_scores, grad @ weights
        joined = np.concatenate([part.reshape(len(grad), -1, part.shape[-1]) for part in parts], axis=1)
        return [joined.reshape(inputs[0].shape)], {}


def _heads(op: Attention, x: np.ndarray) -> list[np.ndarray]:
    keys = (x.shape[1] - op.features) // 2
    parts = np.split(x.reshape(*x.shape[:2], -1), [keys, 2 * keys], axis=1)
    return [part.reshape(len(x), op.heads, -1, part.shape[-1]) for part in parts]


def _weights(op: Attention, query: np.ndarray, key: np.ndarray) -> np.ndarray:
    """How much each position takes of each: (n, heads, positions, positions), rows add up to 1."""
    scores = query.swapaxes(-1, -2) @ key * op.scale
    grown = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=-1, keepdims=True))
