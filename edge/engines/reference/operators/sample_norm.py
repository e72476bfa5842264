"""Normalisation within each sample, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.engines.reference.operators.rule import Gradients, Rule, Tensors
from edge.network.operators.sample_norm import SampleNorm


class SampleNormRule(Rule[SampleNorm]):
    """Statistics over groups of channels, or over all channels at each position."""

    def forward(
        self, op: SampleNorm, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool
    ) -> np.ndarray:
        """scale · (x − μ)/√(σ² + ε) + shift."""
        (x,) = inputs
        normalised = _joined(x, _normalise(op, x)[0])
        if "scale" in tensors:
            normalised = normalised * _beside(tensors["scale"], x)
        return normalised + _beside(tensors["shift"], x) if "shift" in tensors else normalised

    def backward(
        self, op: SampleNorm, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """Through the statistics too."""
        (x,) = inputs
        normalised, inverse = _normalise(op, x)
        of_parameters = {}
        if "scale" in tensors:
            of_parameters["scale"] = _summed(grad * _joined(x, normalised), tensors["scale"])
        if "shift" in tensors:
            of_parameters["shift"] = _summed(grad, tensors["shift"])
        scaled = grad * _beside(tensors["scale"], x) if "scale" in tensors else grad
        along = _split(op, scaled)
        # The part along 1 and along the normalised x is what mean and variance take away.
        along_one = along.mean(axis=2, keepdims=True)
        along_x = (along * normalised).mean(axis=2, keepdims=True)
        return [_joined(x, (along - along_one - normalised * along_x) * inverse)], of_parameters


def _split(op: SampleNorm, x: np.ndarray) -> np.ndarray:
    """x as (n, groups, cells of a set, sets side by side)."""
    return x.reshape(len(x), op.sets, -1, 1) if op.sets else x.reshape(len(x), 1, x.shape[1], -1)


def _joined(x: np.ndarray, split: np.ndarray) -> np.ndarray:
    return split.reshape(x.shape)


def _normalise(op: SampleNorm, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(x − μ)/√(σ² + ε) and 1/√(σ² + ε), as `_split` has x."""
    split = _split(op, x)
    inverse = 1 / np.sqrt(split.var(axis=2, keepdims=True) + op.epsilon)
    return (split - split.mean(axis=2, keepdims=True)) * inverse, inverse


def _beside(numbers: np.ndarray, x: np.ndarray) -> np.ndarray:
    """One number a channel or a cell, in a shape that multiplies x."""
    return numbers if numbers.shape == x.shape[1:] else numbers.reshape(1, -1, *[1] * (x.ndim - 2))


def _summed(grad: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The gradient of one number a channel or a cell."""
    whole = numbers.shape == grad.shape[1:]
    return np.asarray(grad.sum(axis=0 if whole else (0, *range(2, grad.ndim))))
