"""Numbers for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edge.tasks.metric import Metric
from edge.tasks.task import Shape, Task


class Regression(Task):
    """Targets are numbers, float32 `(n, outputs)`; mean squared error over all of them."""

    name = "regression"
    metrics = (
        Metric("rmse", "RMSE", "Root of the mean squared error; lower is better.", False, is_share=False),
        Metric("mae", "MAE", "Mean absolute error; lower is better.", False, is_share=False),
    )
    array = "targets"

    def output(self, classes: int, input: Shape) -> Shape:
        """`(outputs,)`."""
        return (classes,)

    def target(self, output: Shape) -> Shape:
        """`(outputs,)`."""
        return output

    def wrong(self, targets: np.ndarray, output: Shape) -> str | None:
        """A number that is not finite."""
        return None if np.isfinite(targets).all() else "targets that are not finite"

    def each(self, output: Shape) -> str:
        """What a sample needs."""
        return f"{output[0]} number{'s' if output[0] > 1 else ''} each"

    def counts(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Sums of squared and of absolute errors, and how many they are."""
        errors = answers.astype(np.float64) - targets
        return np.array([(errors * errors).sum(), np.abs(errors).sum(), errors.size], np.float64)

    def values(self, counts: np.ndarray) -> tuple[float, ...]:
        """Root of the mean squared error, and mean absolute error."""
        squares, absolutes = counts[:2] / max(counts[2], 1)
        return float(squares**0.5), float(absolutes)

    def noise(self, count: int, output: Shape, generator: np.random.Generator | None = None) -> np.ndarray:
        """Zeros, or normal numbers."""
        shape = (count, *output)
        return np.zeros(shape, np.float32) if generator is None else generator.standard_normal(shape).astype(np.float32)

    def answer(self, answer: np.ndarray, image: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
        """The numbers by the names of the outputs."""
        return {"values": dict(zip(names, map(float, answer), strict=True))}

    def words(self, answer: dict[str, Any]) -> str:
        """The numbers by name."""
        return ", ".join(f"{name} {value:.5g}" for name, value in answer["values"].items())
