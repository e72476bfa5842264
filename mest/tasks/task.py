"""What one task says of its loss, its targets and its metrics; `registry.py` lists all of them.

A board keeps the same tasks by the same names; tests/twins/ holds the two together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

Shape = tuple[int, ...]
Total = Callable[[Tensor], Tensor]  # the sum of a tensor over all processes


@dataclass(frozen=True)
class Metric:
    """`key` is its name in JSON, `label` for a person. A share lies in 0 to 1 and is written as a percentage."""

    key: str
    label: str
    higher_is_better: bool = True
    is_share: bool = True

    def better(self, value: float, than: float) -> bool:
        """True if a value is a gain over another one."""
        return value > than if self.higher_is_better else value < than

    def text(self, value: float) -> str:
        """The value for a person."""
        return f"{value:.2%}" if self.is_share else f"{value:.4g}"


class Task(ABC):
    """A task. `wanted` in its methods is what answers are compared with, as `against` gives it.

    `metrics` judge answers, the first of them decides which epoch is the best. `array` names the targets in an npz
    file; None where a model is trained on its own inputs. `of_classes`: a sample has one class, so that it can be
    answered correctly, forgotten, mixed with another and have its label smoothed. `masks_images`: a target is an image
    of its own, prepared as its sample is.
    """

    name: str
    metrics: tuple[Metric, ...]
    array: str | None = None
    of_classes = False
    masks_images = False

    @property
    def metric(self) -> Metric:
        """The one that decides."""
        return self.metrics[0]

    @abstractmethod
    def output(self, classes: int, input: Shape) -> Shape:
        """The shape of one answer of a model with inputs of this shape."""

    def form(self, samples: int, input: Shape) -> str:
        """The shape of answers to so many samples, in words."""
        sides = "".join(f", {side}" for side in self.output(1, input)[1:])
        return f"({samples}, classes{sides}) logits"

    def against(self, images: Tensor, targets: Tensor) -> Tensor:
        """What answers to normalised images are compared with."""
        return targets

    def terms(self, wanted: Tensor, whole: int, total: Total) -> float:
        """The terms of a batch's mean loss, for this process's part of `whole` samples."""
        return whole * wanted[0].numel()

    @abstractmethod
    def loss_sum(self, answers: Tensor, wanted: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """The sum of the loss over all of its terms."""

    @abstractmethod
    def counts(self, answers: Tensor, wanted: Tensor) -> Tensor:
        """What the metrics follow from, `(k,)`: the counts of several batches add up to those of all."""

    @abstractmethod
    def values(self, counts: Sequence[float], samples: int) -> tuple[float, ...]:
        """Every metric of counts over so many samples."""

    @abstractmethod
    def read(self, array: npt.NDArray[Any], shape: Shape) -> tuple[npt.NDArray[Any], int]:
        """The targets that an array holds for samples `(channels, ...)` of this shape, and how many names they need.

        Raises ValueError with what is wrong and what is expected.
        """


def per_sample(array: npt.NDArray[Any], dtype: type, expected: str) -> npt.NDArray[Any]:
    """An array `(n, k)` of a type; raises ValueError for another one."""
    if array.ndim != 2 or array.dtype != dtype or not array.size:
        raise ValueError(f"{array.dtype} {array.shape}, expected {np.dtype(dtype)} {expected}")
    return array
