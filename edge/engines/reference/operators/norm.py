"""Batch normalisation, forward and backward, and how its running statistics move."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from edge.engines.reference.operators.rule import Gradients, Rule, Tensors
from edge.network import BatchNorm


class BatchNormRule(Rule[BatchNorm]):
    """Statistics of the batch or of the past."""

    def forward(
        self, op: BatchNorm, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool
    ) -> np.ndarray:
        """scale · (x − μ)/√(σ² + ε) + shift."""
        (x,) = inputs
        normalised, _ = _normalise(op, x, tensors, batch_statistics)
        return normalised * _per_channel(tensors["scale"], x) + _per_channel(tensors["shift"], x)

    def backward(
        self, op: BatchNorm, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """Through the statistics too, where they are the batch's."""
        (x,) = inputs
        axes = _axes(x)
        normalised, inverse = _normalise(op, x, tensors, batch_statistics)
        of_parameters = {"scale": (grad * normalised).sum(axis=axes), "shift": grad.sum(axis=axes)}
        grad_normalised = grad * _per_channel(tensors["scale"], x)
        if not batch_statistics:
            return [grad_normalised * inverse], of_parameters
        # Mean and variance depend on x too: their share is the part of the gradient along 1 and along the normalised x.
        along_one = grad_normalised.mean(axis=axes, keepdims=True)
        along_x = (grad_normalised * normalised).mean(axis=axes, keepdims=True)
        return [(grad_normalised - along_one - normalised * along_x) * inverse], of_parameters

    def moved(self, op: BatchNorm, inputs: Sequence[np.ndarray], tensors: Tensors) -> dict[str, np.ndarray]:
        """Running mean and variance after a training batch: PyTorch's rule, with the unbiased variance n/(n−1)."""
        (x,) = inputs
        axes = _axes(x)
        count = x.size // x.shape[1]
        unbiased = x.var(axis=axes) * (count / max(count - 1, 1))
        return {
            "mean": (1 - op.momentum) * tensors["mean"] + op.momentum * x.mean(axis=axes),
            "variance": (1 - op.momentum) * tensors["variance"] + op.momentum * unbiased,
        }

    def biased(self, op: BatchNorm, samples: int, before: Tensors, after: Tensors) -> dict[str, np.ndarray]:
        """The running variance as it moves where the batch's is divided by n, not by n − 1."""
        count = samples * prod(op.shape[1:])
        rest = (1 - op.momentum) * before["variance"]
        return {"variance": rest + (after["variance"] - rest) * (count - 1) / count}


def _axes(x: np.ndarray) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _per_channel(vector: np.ndarray, x: np.ndarray) -> np.ndarray:
    return vector.reshape(1, -1, *[1] * (x.ndim - 2))


def _normalise(op: BatchNorm, x: np.ndarray, tensors: Tensors, batch_statistics: bool) -> tuple[np.ndarray, np.ndarray]:
    """(x − μ)/√(σ² + ε), and 1/√(σ² + ε) in a shape that multiplies x."""
    if batch_statistics:
        mean, variance = x.mean(axis=_axes(x)), x.var(axis=_axes(x))
    else:
        mean, variance = tensors["mean"], tensors["variance"]
    inverse = _per_channel(1 / np.sqrt(variance + op.epsilon), x)
    return (x - _per_channel(mean, x)) * inverse, inverse
