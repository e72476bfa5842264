"""Softmax cross-entropy with label smoothing, as PyTorch defines it."""

from __future__ import annotations

import numpy as np


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
