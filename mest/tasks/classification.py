"""One class of many for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch.nn.functional as functional
from torch import Tensor

from mest.tasks.task import Metric, Shape, Task


class Classification(Task):
    """Targets are class numbers, int64 `(n,)`; softmax cross-entropy."""

    name = "classification"
    metrics = (Metric("accuracy", "accuracy"),)
    array = "labels"
    of_classes = True

    def output(self, classes: int, input: Shape) -> Shape:
        """`(classes,)`."""
        return (classes,)

    def loss_sum(self, answers: Tensor, wanted: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Of −Σ q log p, q = 1−ε on the class + ε/classes everywhere."""
        return functional.cross_entropy(answers, wanted, reduction="sum", label_smoothing=label_smoothing)

    def counts(self, answers: Tensor, wanted: Tensor) -> Tensor:
        """How many are correct."""
        return (answers.argmax(1) == wanted).sum().reshape(1)

    def values(self, counts: Sequence[float], samples: int) -> tuple[float, ...]:
        """Accuracy."""
        return (counts[0] / max(samples, 1),)

    def read(self, array: npt.NDArray[Any], shape: Shape) -> tuple[npt.NDArray[Any], int]:
        """Integers from 0."""
        if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size or array.min() < 0:
            raise ValueError(f"{array.dtype} {array.shape}, expected integers from 0 (n,)")
        return array.astype(np.int64), int(array.max()) + 1
