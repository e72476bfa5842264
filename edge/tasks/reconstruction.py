"""The sample itself: autoencoders, whose error tells what is unlike all that they were trained on."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from edge.tasks.metric import Metric
from edge.tasks.task import Shape, Task


class Reconstruction(Task):
    """The target is the normalised input; mean squared error over all of its numbers.

    Where targets are handed on, there are none: uint8 `(n, 0)`.
    """

    name = "reconstruction"
    metrics = (
        Metric("mse", "MSE", "Mean squared error of the normalised inputs; lower is better.", False, is_share=False),
    )
    dtype = np.uint8

    def output(self, classes: int, input: Shape) -> Shape:
        """That of the input."""
        return input

    def target(self, output: Shape) -> Shape:
        """No number."""
        return (0,)

    def against(self, images: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The images."""
        return images

    def each(self, output: Shape) -> str:
        """What a sample needs."""
        return "no target"

    def counts(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The sum of squared errors, and how many they are."""
        errors = answers.reshape(targets.shape).astype(np.float64) - targets
        return np.array([(errors * errors).sum(), errors.size], np.float64)

    def values(self, counts: np.ndarray) -> tuple[float, ...]:
        """Mean squared error."""
        return (float(counts[0] / max(counts[1], 1)),)

    def noise(self, count: int, output: Shape, generator: np.random.Generator | None = None) -> np.ndarray:
        """None."""
        return np.zeros((count, 0), np.uint8)

    def answer(self, answer: np.ndarray, image: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
        """The mean squared error of the sample, on the scale of normalised inputs."""
        errors = answer.reshape(prod(answer.shape)).astype(np.float64) - image.reshape(prod(image.shape))
        return {"error": float((errors * errors).mean())}

    def words(self, answer: dict[str, Any]) -> str:
        """The error."""
        return f"error {answer['error']:.5g}"
