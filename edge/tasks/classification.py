"""One class of many for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edge.tasks.metric import ACCURACY
from edge.tasks.task import Shape, Task


class Classification(Task):
    """Targets are class numbers, int64 `(n,)`; softmax cross-entropy."""

    name = "classification"
    metrics = (ACCURACY,)
    dtype = np.int64
    array = "labels"
    of_classes = True

    def output(self, classes: int, input: Shape) -> Shape:
        """`(classes,)`."""
        return (classes,)

    def target(self, output: Shape) -> Shape:
        """`()`."""
        return ()

    def terms(self, targets: np.ndarray, output: Shape) -> int:
        """One for each sample."""
        return len(targets)

    def wrong(self, targets: np.ndarray, output: Shape) -> str | None:
        """A class that the network does not have."""
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= output[0]:
            return f"labels from {low} to {high}: this network has classes 0 to {output[0] - 1}"
        return None

    def each(self, output: Shape) -> str:
        """What a sample needs."""
        return "one label each"

    def counts(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Correct answers and samples."""
        return np.array([(answers.argmax(axis=1) == targets).sum(), len(targets)], np.float64)

    def values(self, counts: np.ndarray) -> tuple[float, ...]:
        """Accuracy."""
        return (float(counts[0] / max(counts[1], 1)),)

    def noise(self, count: int, output: Shape, generator: np.random.Generator | None = None) -> np.ndarray:
        """All classes in turn."""
        return np.arange(count, dtype=np.int64) % output[0]

    def answer(self, answer: np.ndarray, image: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
        """All classes with their scores (softmax), likeliest first."""
        shifted = np.exp(answer - answer.max())
        scores = shifted / shifted.sum()
        likeliest = np.argsort(-scores, kind="stable")
        classes = [{"class": names[number], "score": float(scores[number])} for number in likeliest]
        return {**classes[0], "classes": classes}

    def words(self, answer: dict[str, Any]) -> str:
        """Classes with their scores."""
        return ", ".join(f"{found['class']} {found['score']:.1%}" for found in answer["classes"])
