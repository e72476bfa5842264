"""Hard swish, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.engines.reference.operators.rule import Gradients, Rule, Tensors
from edge.network.operators.hard_swish import HardSwish


class HardSwishRule(Rule[HardSwish]):
    """x · min(max(x + 3, 0), 6) / 6."""

    def forward(
        self, op: HardSwish, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool
    ) -> np.ndarray:
        """Nothing below -3, x itself above 3."""
        (x,) = inputs
        return x * np.clip(x + 3, 0, 6) / 6

    def backward(
        self, op: HardSwish, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """At -3 and at 3 themselves that of the straight parts, as in PyTorch."""
        (x,) = inputs
        return [grad * np.where(x <= -3, 0, np.where(x < 3, x / 3 + 0.5, 1))], {}
