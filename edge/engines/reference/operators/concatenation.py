"""Joining the channels of values, and sharing out the gradient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.engines.reference.operators.rule import Gradients, Rule, Tensors
from edge.network.operators.concatenation import Concat


class ConcatRule(Rule[Concat]):
    """Channels one after the other."""

    def forward(self, op: Concat, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool) -> np.ndarray:
        """All of the first input's channels, then those of the next."""
        return np.concatenate(inputs, axis=1)

    def backward(
        self, op: Concat, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """To each its own channels."""
        ends = np.cumsum([value.shape[1] for value in inputs])
        return np.split(grad, ends[:-1], axis=1), {}
