"""A class for each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from torch import Tensor

from mest.tasks.task import Metric, Shape, Task, Total

IGNORED = 255  # in a mask: a pixel that has no class, and counts neither in the loss nor in a metric


class Segmentation(Task):
    """Targets are masks of class numbers, uint8 `(n, height, width)`, 255 where a pixel has none; cross-entropy.

    The loss is the mean over all pixels of a batch that have a class, whatever parts it is computed in; 0 of none.
    """

    name = "segmentation"
    metrics = (Metric("mean_iou", "mean IoU"), Metric("pixel_accuracy", "pixel accuracy"))
    array = "masks"
    masks_images = True

    def output(self, classes: int, input: Shape) -> Shape:
        """`(classes, height, width)`."""
        return (classes, *input[1:])

    def terms(self, wanted: Tensor, whole: int, total: Total) -> float:
        """The pixels that have a class, of all processes."""
        return max(1.0, float(total((wanted != IGNORED).sum())))

    def loss_sum(self, answers: Tensor, wanted: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Over the pixels that have a class."""
        return functional.cross_entropy(answers, wanted.long(), reduction="sum", ignore_index=IGNORED)

    def counts(self, answers: Tensor, wanted: Tensor) -> Tensor:
        """How many pixels of each class were taken for each, `(classes · classes,)`, the true class first."""
        classes, known = answers.shape[1], wanted != IGNORED
        pairs = wanted[known].long() * classes + answers.argmax(1)[known]
        return torch.bincount(pairs, minlength=classes * classes).double()

    def values(self, counts: Sequence[float], samples: int) -> tuple[float, ...]:
        """Mean intersection over union of the classes that occur or were given, and the share of pixels right."""
        table = np.array(counts)
        classes = int(len(table) ** 0.5)
        table = table.reshape(classes, classes)
        both, union = np.diagonal(table), table.sum(axis=0) + table.sum(axis=1) - np.diagonal(table)
        shares = both[union > 0] / union[union > 0]
        return float(shares.sum() / max(len(shares), 1)), float(both.sum() / max(table.sum(), 1))

    def read(self, array: npt.NDArray[Any], shape: Shape) -> tuple[npt.NDArray[Any], int]:
        """Class numbers, and 255."""
        if array.dtype != np.uint8 or array.shape[1:] != shape[1:] or len(shape) < 2:
            sides = ", ".join(map(str, shape[1:]))
            raise ValueError(f"{array.dtype} {array.shape}, expected uint8 (n, {sides})")
        known = array[array != IGNORED]
        if not known.size:
            raise ValueError(f"not one pixel that has a class, all are {IGNORED}")
        return array, int(known.max()) + 1
