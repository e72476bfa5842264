"""Activations, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.engines.reference.operators.rule import Gradients, Rule, Tensors
from edge.network import Relu, Relu6


class ReluRule(Rule[Relu]):
    """max(x, 0)."""

    def forward(self, op: Relu, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool) -> np.ndarray:
        """max(x, 0)."""
        return np.maximum(inputs[0], 0)

    def backward(
        self, op: Relu, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """Nothing at 0 itself."""
        return [np.where(inputs[0] > 0, grad, 0)], {}


class Relu6Rule(Rule[Relu6]):
    """min(max(x, 0), 6)."""

    def forward(self, op: Relu6, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool) -> np.ndarray:
        """min(max(x, 0), 6)."""
        return np.clip(inputs[0], 0, 6)

    def backward(
        self, op: Relu6, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """Nothing at 0 and 6 themselves."""
        (x,) = inputs
        return [np.where((x > 0) & (x < 6), grad, 0)], {}
