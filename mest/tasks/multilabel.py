"""Any number of labels for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from torch import Tensor

from mest.tasks.task import Metric, Shape, Task, per_sample


class Multilabel(Task):
    """Targets are 0 or 1 for every label, uint8 `(n, labels)`; binary cross-entropy with logits.

    A label is given where its logit is above 0, a probability above one half.
    """

    name = "multilabel"
    metrics = (Metric("macro_f1", "macro F1"), Metric("exact_match", "exact match"))
    array = "labels"

    def output(self, classes: int, input: Shape) -> Shape:
        """`(labels,)`."""
        return (classes,)

    def loss_sum(self, answers: Tensor, wanted: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Over samples and labels."""
        return functional.binary_cross_entropy_with_logits(answers, wanted.to(answers.dtype), reduction="sum")

    def counts(self, answers: Tensor, wanted: Tensor) -> Tensor:
        """Of every label how often it was given rightly, given, and right; then exact matches."""
        given, right = answers > 0, wanted != 0
        exact = (given == right).all(1).sum().reshape(1)
        return torch.cat([(given & right).sum(0), given.sum(0), right.sum(0), exact])

    def values(self, counts: Sequence[float], samples: int) -> tuple[float, ...]:
        """The mean F1 of the labels that occur or were given, and the share of samples with all labels right."""
        *by_label, exact = counts
        both, given, right = np.array(by_label).reshape(3, -1)
        seen = given + right > 0
        f1 = 2 * both[seen] / (given + right)[seen]
        return float(f1.sum() / max(len(f1), 1)), exact / max(samples, 1)

    def read(self, array: npt.NDArray[Any], shape: Shape) -> tuple[npt.NDArray[Any], int]:
        """0 and 1."""
        labels = per_sample(array, np.uint8, "(n, labels) of 0 and 1")
        if labels.max() > 1:
            raise ValueError(f"a label of {labels.max()}, expected 0 and 1")
        return labels, labels.shape[1]
