"""SGD and AdamW exactly as PyTorch defines them."""

from __future__ import annotations

import numpy as np

from edge.plan.choices import OptimizerChoice


def update(
    optimizer: OptimizerChoice,
    weight: np.ndarray,
    grad: np.ndarray,
    state: list[np.ndarray],
    learning_rate: float,
    step: int,
) -> None:
    """Change a weight and its optimizer state in place; `step` counts from 1."""
    if optimizer.kind == "adamw":
        _adamw(optimizer, weight, grad, state, learning_rate, step)
    else:
        _sgd(optimizer, weight, grad, state, learning_rate)


def _sgd(
    optimizer: OptimizerChoice, weight: np.ndarray, grad: np.ndarray, state: list[np.ndarray], learning_rate: float
) -> None:
    grad = grad + optimizer.weight_decay * weight
    if optimizer.momentum:
        (velocity,) = state
        velocity[...] = optimizer.momentum * velocity + grad
        grad = grad + optimizer.momentum * velocity if optimizer.nesterov else velocity
    weight -= learning_rate * grad


def _adamw(
    optimizer: OptimizerChoice,
    weight: np.ndarray,
    grad: np.ndarray,
    state: list[np.ndarray],
    learning_rate: float,
    step: int,
) -> None:
    mean, square = state
    weight *= 1 - learning_rate * optimizer.weight_decay
    mean[...] = optimizer.beta1 * mean + (1 - optimizer.beta1) * grad
    square[...] = optimizer.beta2 * square + (1 - optimizer.beta2) * grad * grad
    corrected_mean = mean / (1 - optimizer.beta1**step)
    corrected_square = square / (1 - optimizer.beta2**step)
    weight -= learning_rate * corrected_mean / (np.sqrt(corrected_square) + optimizer.epsilon)
