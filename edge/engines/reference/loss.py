"""The loss of each task with its gradient, as PyTorch defines them with their mean over a batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge.tasks.segmentation import IGNORED

Loss = Callable[[np.ndarray, np.ndarray, float], tuple[float, np.ndarray]]


def cross_entropy(logits: np.ndarray, labels: np.ndarray, label_smoothing: float = 0.0) -> tuple[float, np.ndarray]:
    """Mean loss over the batch, and its gradient `(n, classes)` with respect to the logits.

    Each target keeps 1 − ε of its class and spreads ε over all classes.
    """
    count, classes = logits.shape
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    targets = np.full_like(logits, label_smoothing / classes)
    targets[np.arange(count), labels] += 1.0 - label_smoothing
    loss = -(targets * log_probabilities).sum() / count
    return float(loss), (np.exp(log_probabilities) - targets) / count


def binary_cross_entropy(logits: np.ndarray, labels: np.ndarray, _: float = 0.0) -> tuple[float, np.ndarray]:
    """Mean over samples and labels of the loss of each label, 0 or 1, and its gradient `(n, labels)`."""
    wanted = labels.astype(logits.dtype)
    losses = np.maximum(logits, 0) - logits * wanted + np.log1p(np.exp(-np.abs(logits)))
    return float(losses.mean()), (np.exp(-np.logaddexp(0, -logits)) - wanted) / logits.size


def squared_error(answers: np.ndarray, targets: np.ndarray, _: float = 0.0) -> tuple[float, np.ndarray]:
    """Mean over all numbers of the squared error, and its gradient `(n, ...)`."""
    errors = answers - targets.reshape(answers.shape).astype(answers.dtype)
    return float((errors * errors).mean()), 2 * errors / errors.size


def pixel_cross_entropy(logits: np.ndarray, masks: np.ndarray, _: float = 0.0) -> tuple[float, np.ndarray]:
    """Mean over the pixels that have a class, and its gradient `(n, classes, height, width)`; 0 where none has."""
    known = masks != IGNORED
    if not known.any():
        return 0.0, np.zeros_like(logits)
    loss, of_known = cross_entropy(np.moveaxis(logits, 1, -1)[known], masks[known].astype(np.int64))
    gradient = np.zeros_like(logits)
    np.moveaxis(gradient, 1, -1)[known] = of_known
    return loss, gradient


LOSSES: dict[str, Loss] = {
    "classification": cross_entropy,
    "multilabel": binary_cross_entropy,
    "regression": squared_error,
    "reconstruction": squared_error,
    "segmentation": pixel_cross_entropy,
}
