"""A class for each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edge.tasks.metric import Metric
from edge.tasks.task import Shape, Task

IGNORED = 255  # in a mask: a pixel that has no class, and counts neither in the loss nor in a metric


class Segmentation(Task):
    """Targets are masks of class numbers, uint8 `(n, height, width)`, 255 where a pixel has none; cross-entropy.

    The loss is the mean over all pixels of a batch that have a class, as PyTorch's with `ignore_index`; 0 of none.
    """

    name = "segmentation"
    metrics = (
        Metric(
            "mean_iou", "mean IoU", "Mean over the classes of the intersection of found and true pixels ÷ their union."
        ),
        Metric("pixel_accuracy", "pixel accuracy", "Share of pixels classified correctly."),
    )
    dtype = np.uint8
    array = "masks"
    masks_images = True

    def output(self, classes: int, input: Shape) -> Shape:
        """`(classes, height, width)`."""
        return (classes, *input[1:])

    def target(self, output: Shape) -> Shape:
        """`(height, width)`."""
        return output[1:]

    def terms(self, targets: np.ndarray, output: Shape) -> int:
        """One for each pixel that has a class."""
        return max(1, int(np.count_nonzero(targets != IGNORED)))

    def wrong(self, targets: np.ndarray, output: Shape) -> str | None:
        """A class that the network does not have."""
        unknown = (targets >= output[0]) & (targets != IGNORED)
        if not unknown.any():
            return None
        return (
            f"a pixel of class {int(targets[unknown].max())}: this network has classes 0 to {output[0] - 1}, and "
            f"{IGNORED} is ignored"
        )

    def each(self, output: Shape) -> str:
        """What a sample needs."""
        return f"a mask of {'x'.join(map(str, output[1:]))} pixels each"

    def counts(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """How many pixels of each class were taken for each, `(classes · classes,)`, the true class first."""
        classes = answers.shape[1]
        found, known = answers.argmax(axis=1), targets != IGNORED
        pairs = targets[known].astype(np.int64) * classes + found.reshape(targets.shape)[known]
        return np.bincount(pairs, minlength=classes * classes).astype(np.float64)

    def values(self, counts: np.ndarray) -> tuple[float, ...]:
        """Mean intersection over union of the classes that occur or were given, and the share of pixels right."""
        classes = int(len(counts) ** 0.5)
        table = counts.reshape(classes, classes)
        both, union = np.diagonal(table), table.sum(axis=0) + table.sum(axis=1) - np.diagonal(table)
        shares = both[union > 0] / union[union > 0]
        return float(shares.sum() / max(len(shares), 1)), float(both.sum() / max(counts.sum(), 1))

    def noise(self, count: int, output: Shape, generator: np.random.Generator | None = None) -> np.ndarray:
        """All classes in turn, or at random with a sixteenth of the pixels ignored."""
        shape = (count, *output[1:])
        if generator is None:
            return (np.arange(int(np.prod(shape))) % output[0]).astype(np.uint8).reshape(shape)
        masks = generator.integers(0, output[0], shape, np.uint8)
        masks[generator.integers(0, 16, shape) == 0] = IGNORED
        return masks

    def answer(self, answer: np.ndarray, image: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
        """The share of the pixels that each class has, most first; classes without any are left out."""
        shares = np.bincount(answer.argmax(axis=0).reshape(-1), minlength=len(names)) / answer[0].size
        order = [number for number in np.argsort(-shares, kind="stable") if shares[number]]
        return {"classes": [{"class": names[number], "share": float(shares[number])} for number in order]}

    def words(self, answer: dict[str, Any]) -> str:
        """Classes with their shares."""
        return ", ".join(f"{found['class']} {found['share']:.1%}" for found in answer["classes"])
