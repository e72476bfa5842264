"""The sample itself: autoencoders, whose error tells what is unlike all that they were trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from torch import Tensor

from mest.tasks.task import Metric, Shape, Task


class Reconstruction(Task):
    """The target is the normalised input; mean squared error over all of its numbers.

    Where targets are handed on, there are none: uint8 `(n, 0)`.
    """

    name = "reconstruction"
    metrics = (Metric("mse", "MSE", higher_is_better=False, is_share=False),)

    def output(self, classes: int, input: Shape) -> Shape:
        """That of the input."""
        return input

    def against(self, images: Tensor, targets: Tensor) -> Tensor:
        """The images."""
        return images

    def form(self, samples: int, input: Shape) -> str:
        """What a model must give."""
        return f"{(samples, *input)}, the shape of its input"

    def loss_sum(self, answers: Tensor, wanted: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Over all numbers of the samples."""
        return functional.mse_loss(answers, wanted.to(answers.dtype), reduction="sum")

    def counts(self, answers: Tensor, wanted: Tensor) -> Tensor:
        """The sum of squared errors, and how many they are."""
        errors = answers.double() - wanted
        return torch.stack([errors.square().sum(), errors.new_tensor(errors.numel())])

    def values(self, counts: Sequence[float], samples: int) -> tuple[float, ...]:
        """Mean squared error."""
        return (counts[0] / max(counts[1], 1),)

    def read(self, array: npt.NDArray[Any], shape: Shape) -> tuple[npt.NDArray[Any], int]:
        """None, for as many samples as the array has entries; a name for each channel."""
        return np.zeros((len(array), 0), np.uint8), shape[0]
