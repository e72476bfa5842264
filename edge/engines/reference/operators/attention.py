"""Attention, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.engines.reference.operators.rule import Gradients, Rule, Tensors
from edge.network.operators.attention import Attention


class AttentionRule(Rule[Attention]):
    """softmax(scale · q kᵀ + bias + mask) v, with q, k and v as (n, windows, heads, features of one, positions)."""

    def forward(
        self, op: Attention, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool
    ) -> np.ndarray:
        """`(n, features, h, w)`."""
        query, key, value = _heads(op, inputs[0])
        return _joined(value @ _weights(op, query, key, tensors).swapaxes(-1, -2)).reshape(len(inputs[0]), *op.shape)

    def backward(
        self, op: Attention, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """Through the weights, whose rows add up to 1."""
        query, key, value = _heads(op, inputs[0])
        weights = _weights(op, query, key, tensors)
        (grad,) = _split(op, [grad.reshape(*grad.shape[:2], -1)])
        of_weights = grad.swapaxes(-1, -2) @ value
        of_sums = weights * (of_weights - (of_weights * weights).sum(axis=-1, keepdims=True))
        of_scores = of_sums * op.scale
        parts = key @ of_scores.swapaxes(-1, -2), query @ of_scores, grad @ weights
        joined = np.concatenate([_joined(part) for part in parts], axis=1)
        return [joined.reshape(inputs[0].shape)], _beside(tensors, of_sums)


def _heads(op: Attention, x: np.ndarray) -> list[np.ndarray]:
    keys = (x.shape[1] - op.features) // 2
    return _split(op, np.split(x.reshape(*x.shape[:2], -1), [keys, 2 * keys], axis=1))


def _split(op: Attention, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """(n, channels, positions) → (n, windows, heads, channels of one, positions of a window)."""
    cut = [part.reshape(len(part), op.heads, -1, op.windows, part.shape[2] // op.windows) for part in parts]
    return [part.transpose(0, 3, 1, 2, 4) for part in cut]


def _joined(part: np.ndarray) -> np.ndarray:
    """The reverse of `_split`."""
    count, windows, heads, channels, length = part.shape
    return part.transpose(0, 2, 3, 1, 4).reshape(count, heads * channels, windows * length)


def _weights(op: Attention, query: np.ndarray, key: np.ndarray, tensors: Tensors) -> np.ndarray:
    """How much each position takes of each: (n, windows, heads, positions, positions), rows add up to 1."""
    scores = query.swapaxes(-1, -2) @ key * op.scale
    if "bias" in tensors:
        scores = scores + tensors["bias"].reshape(-1)[tensors["places"]]
    if "mask" in tensors:
        scores = scores + tensors["mask"][:, None]
    grown = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=-1, keepdims=True))


def _beside(tensors: Tensors, of_sums: np.ndarray) -> dict[str, np.ndarray]:
    """The gradients of bias and mask: each number gets what all scores get that it was added to."""
    found: dict[str, np.ndarray] = {}
    if "bias" in tensors:
        bias, each = tensors["bias"], of_sums.sum(axis=(0, 1))
        summed = np.bincount(tensors["places"].reshape(-1), each.reshape(-1), minlength=bias.size)
        found["bias"] = summed.reshape(bias.shape).astype(bias.dtype)
    if "mask" in tensors:
        each = of_sums.sum(axis=(0, 2))
        found["mask"] = each if len(tensors["mask"]) > 1 else each.sum(axis=0, keepdims=True)
    return found
