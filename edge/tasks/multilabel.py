"""Any number of labels for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edge.tasks.metric import Metric
from edge.tasks.task import Shape, Task


class Multilabel(Task):
    """Targets are 0 or 1 for every label, uint8 `(n, labels)`; binary cross-entropy with logits.

    A label is given where its logit is above 0, a probability above one half.
    """

    name = "multilabel"
    metrics = (
        Metric("macro_f1", "macro F1", "Mean over the labels of the harmonic mean of precision and recall."),
        Metric("exact_match", "exact match", "Share of samples all of whose labels are right."),
    )
    dtype = np.uint8
    array = "labels"

    def output(self, classes: int, input: Shape) -> Shape:
        """`(labels,)`."""
        return (classes,)

    def target(self, output: Shape) -> Shape:
        """`(labels,)`."""
        return output

    def wrong(self, targets: np.ndarray, output: Shape) -> str | None:
        """A number other than 0 and 1."""
        if targets.size and targets.max() > 1:
            return f"labels up to {int(targets.max())}: of several labels each is 0 or 1"
        return None

    def each(self, output: Shape) -> str:
        """What a sample needs."""
        return f"0 or 1 for each of {output[0]} labels"

    def counts(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Of every label how often it was given rightly, given, and right; then exact matches and samples."""
        given, right = answers > 0, targets != 0
        by_label = ((given & right).sum(axis=0), given.sum(axis=0), right.sum(axis=0))
        exact = (given == right).all(axis=1).sum()
        return np.concatenate([*by_label, [exact, len(targets)]]).astype(np.float64)

    def values(self, counts: np.ndarray) -> tuple[float, ...]:
        """The mean F1 of the labels that occur or were given, and the share of samples with all labels right."""
        both, given, right = counts[:-2].reshape(3, -1)
        seen = given + right > 0
        f1 = 2 * both[seen] / (given + right)[seen]
        return float(f1.sum() / max(len(f1), 1)), float(counts[-2] / max(counts[-1], 1))

    def noise(self, count: int, output: Shape, generator: np.random.Generator | None = None) -> np.ndarray:
        """Every other label, or random ones."""
        if generator is None:
            return (np.add.outer(np.arange(count), np.arange(output[0])) % 2).astype(np.uint8)
        return generator.integers(0, 2, (count, *output), np.uint8)

    def answer(self, answer: np.ndarray, image: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
        """The labels that are given, and the probability of every one, likeliest first."""
        logits = answer.astype(np.float64)
        scores = np.exp(-np.logaddexp(0, -logits))
        order = np.argsort(-logits, kind="stable")
        return {
            "labels": [names[number] for number in order if logits[number] > 0],
            "scores": [{"label": names[number], "score": float(scores[number])} for number in order],
        }

    def words(self, answer: dict[str, Any]) -> str:
        """The labels that are given with their probabilities."""
        found = {score["label"]: score["score"] for score in answer["scores"]}
        return ", ".join(f"{label} {found[label]:.1%}" for label in answer["labels"]) or "no label"
