"""What one task says of its targets, its answers and its metrics; `registry.py` lists all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from edge.tasks.metric import Metric

Shape = tuple[int, ...]


class Task(ABC):
    """A task. `output` in its methods is the shape of one answer as the network's last operator writes it.

    `metrics` judge answers, the first of them decides which weights are best. `array` names the targets in an npz file;
    None where a network is trained on its own inputs. `of_classes`: a sample has one class, so that it can be answered
    correctly, be forgotten, and have its label smoothed.
    """

    name: str
    metrics: tuple[Metric, ...]
    dtype: type = np.float32
    array: str | None = None
    of_classes = False
    masks_images = False  # a target is an image of its own, which lies in a file beside the sample's

    @property
    def metric(self) -> Metric:
        """The one that decides."""
        return self.metrics[0]

    @abstractmethod
    def output(self, classes: int, input: Shape) -> Shape:
        """The shape that the last operator must write, for inputs `(channels, height, width)`."""

    @abstractmethod
    def target(self, output: Shape) -> Shape:
        """The shape of a sample's target."""

    def against(self, images: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """What answers to normalised images are compared with."""
        return targets

    def terms(self, targets: np.ndarray, output: Shape) -> int:
        """The number of terms that the loss of a batch is the mean of."""
        return len(targets) * prod(output)

    def wrong(self, targets: np.ndarray, output: Shape) -> str | None:
        """Why targets of the right shape and type are none of this task; None if they are."""
        return None

    @abstractmethod
    def each(self, output: Shape) -> str:
        """What every sample needs, in words."""

    @abstractmethod
    def counts(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """What the metrics follow from, float64: the counts of several batches add up to those of all."""

    @abstractmethod
    def values(self, counts: np.ndarray) -> tuple[float, ...]:
        """Every metric of counts."""

    @abstractmethod
    def noise(self, count: int, output: Shape, generator: np.random.Generator | None = None) -> np.ndarray:
        """Targets that mean nothing, for timing and for comparing engines; with a generator at random."""

    @abstractmethod
    def answer(self, answer: np.ndarray, image: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
        """One answer as `predict` prints it in JSON, of a normalised image."""

    @abstractmethod
    def words(self, answer: dict[str, Any]) -> str:
        """What `answer` gave, in a line for a person."""


def named_scores(task: Task, values: Sequence[float]) -> dict[str, Any]:
    """The metrics of a task as JSON has them: the one that decides, its name, and all of them by name."""
    by_name = {metric.key: value for metric, value in zip(task.metrics, values, strict=True)}
    return {"task": task.name, "metric_name": task.metric.key, "metric": values[0], "metrics": by_name}
