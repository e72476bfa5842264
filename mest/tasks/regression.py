"""Numbers for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from torch import Tensor

from mest.tasks.task import Metric, Shape, Task, per_sample


class Regression(Task):
    """Targets are numbers, float32 `(n, outputs)`; mean squared error over all of them."""

    name = "regression"
    metrics = (
        Metric("rmse", "RMSE", higher_is_better=False, is_share=False),
        Metric("mae", "MAE", higher_is_better=False, is_share=False),
    )
    array = "targets"

    def output(self, classes: int, input: Shape) -> Shape:
        """`(outputs,)`."""
        return (classes,)

    def form(self, samples: int, input: Shape) -> str:
        """What a model must give."""
        return f"({samples}, outputs) numbers"

    def loss_sum(self, answers: Tensor, wanted: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Over samples and outputs."""
        return functional.mse_loss(answers, wanted.to(answers.dtype), reduction="sum")

    def counts(self, answers: Tensor, wanted: Tensor) -> Tensor:
        """Sums of squared and of absolute errors, and how many they are."""
        errors = answers.double() - wanted
        return torch.stack([errors.square().sum(), errors.abs().sum(), errors.new_tensor(errors.numel())])

    def values(self, counts: Sequence[float], samples: int) -> tuple[float, ...]:
        """Root of the mean squared error, and mean absolute error."""
        squares, absolutes, numbers = counts
        return (squares / max(numbers, 1)) ** 0.5, absolutes / max(numbers, 1)

    def read(self, array: npt.NDArray[Any], shape: Shape) -> tuple[npt.NDArray[Any], int]:
        """Finite numbers."""
        targets = per_sample(array, np.float32, "(n, outputs)")
        if not np.isfinite(targets).all():
            raise ValueError(f"{int((~np.isfinite(targets)).sum())} numbers that are not finite; leave those out")
        return targets, targets.shape[1]
