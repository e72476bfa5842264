"""What the reference knows of one operator: forward and backward, and what training moves beside the gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np

from edge.network import Operator

Tensors = Mapping[str, np.ndarray]  # of one operator, by role: weight, bias, scale, …
Gradients = tuple[list[np.ndarray], dict[str, np.ndarray]]  # of the inputs, in order; of the parameters, by role

Kind = TypeVar("Kind", bound=Operator)


class Rule(ABC, Generic[Kind]):
    """The arithmetic of one kind of operator, as pure functions: a backward pass needs the inputs, nothing saved.

    `batch_statistics` is True where training normalises by its own batch.
    """

    @abstractmethod
    def forward(self, op: Kind, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool) -> np.ndarray:
        """The value that the operator writes."""

    @abstractmethod
    def backward(
        self, op: Kind, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """Gradients of the inputs and of the parameters, from that of the value."""

    def moved(self, op: Kind, inputs: Sequence[np.ndarray], tensors: Tensors) -> dict[str, np.ndarray]:
        """Parameters, by role, that a training batch moves without a gradient, as they are afterwards."""
        return {}

    def biased(self, op: Kind, samples: int, before: Tensors, after: Tensors) -> dict[str, np.ndarray]:
        """Those of `moved`, by role, that an engine may move otherwise which takes a batch for all there is."""
        return {}
