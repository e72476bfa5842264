"""Every operator forward and backward, as pure functions: a backward pass needs an operator's inputs, nothing saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edge.network import (
    Add,
    AvgPool,
    BatchNorm,
    Conv,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Operator,
    Relu,
    Relu6,
    Select,
)
from edge.reference import windows

Tensors = Mapping[str, np.ndarray]  # of one operator, by role: weight, bias, scale, …


def forward(op: Operator, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool) -> np.ndarray:
    """The value that an operator writes; batch norms take their statistics from the batch or from the past."""
    x = inputs[0]
    if isinstance(op, Conv):
        return windows.conv(op, x, tensors["weight"], tensors.get("bias"))
    if isinstance(op, Linear):
        return x @ tensors["weight"].T + tensors.get("bias", 0)
    if isinstance(op, BatchNorm):
        normalised, _ = _normalise(op, x, tensors, batch_statistics)
        return normalised * _per_channel(tensors["scale"], x) + _per_channel(tensors["shift"], x)
    if isinstance(op, Relu):
        return np.maximum(x, 0)
    if isinstance(op, Relu6):
        return np.clip(x, 0, 6)
    if isinstance(op, Add):
        return x + inputs[1]
    if isinstance(op, MaxPool):
        return windows.max_pool(op, x)
    if isinstance(op, AvgPool):
        return windows.avg_pool(op, x)
    if isinstance(op, GlobalAvgPool):
        return x.mean(axis=(2, 3), keepdims=True)
    if isinstance(op, Flatten):
        return x.reshape(len(x), -1)
    if isinstance(op, Select):
        return x[:, tensors["channels"]]
    raise TypeError(f"no reference for the operator {op.op}")


def backward(
    op: Operator, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Gradients of the inputs, in order, and of the parameters, by role."""
    x = inputs[0]
    if isinstance(op, Conv):
        grad_x, grad_weight, grad_bias = windows.conv_gradients(op, x, tensors["weight"], grad)
        return [grad_x], {"weight": grad_weight, "bias": grad_bias}
    if isinstance(op, Linear):
        return [grad @ tensors["weight"]], {"weight": grad.T @ x, "bias": grad.sum(axis=0)}
    if isinstance(op, BatchNorm):
        return _batch_norm_gradients(op, x, tensors, batch_statistics, grad)
    if isinstance(op, Relu):
        return [np.where(x > 0, grad, 0)], {}
    if isinstance(op, Relu6):
        return [np.where((x > 0) & (x < 6), grad, 0)], {}
    if isinstance(op, Add):
        return [grad, grad], {}
    if isinstance(op, MaxPool):
        return [windows.max_pool_gradient(op, x, grad)], {}
    if isinstance(op, AvgPool):
        return [windows.avg_pool_gradient(op, x, grad)], {}
    if isinstance(op, GlobalAvgPool):
        return [np.broadcast_to(grad / (x.shape[2] * x.shape[3]), x.shape)], {}
    if isinstance(op, Flatten):
        return [grad.reshape(x.shape)], {}
    if isinstance(op, Select):
        grad_x = np.zeros_like(x)
        # Added, not written: a channel may be listed more than once.
        np.add.at(grad_x.swapaxes(0, 1), tensors["channels"], grad.swapaxes(0, 1))
        return [grad_x], {}
    raise TypeError(f"no reference for the operator {op.op}")


def moved_statistics(op: BatchNorm, x: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> dict[str, np.ndarray]:
    """Running mean and variance after a training batch: PyTorch's rule, with the unbiased variance n/(n−1)."""
    axes = (0, *range(2, x.ndim))
    count = x.size // x.shape[1]
    unbiased = x.var(axis=axes) * (count / max(count - 1, 1))
    return {
        "mean": (1 - op.momentum) * mean + op.momentum * x.mean(axis=axes),
        "variance": (1 - op.momentum) * variance + op.momentum * unbiased,
    }


def _per_channel(vector: np.ndarray, x: np.ndarray) -> np.ndarray:
    return vector.reshape(1, -1, *[1] * (x.ndim - 2))


def _normalise(op: BatchNorm, x: np.ndarray, tensors: Tensors, batch_statistics: bool) -> tuple[np.ndarray, np.ndarray]:
    """(x − μ)/√(σ² + ε), and 1/√(σ² + ε) in a shape that multiplies x."""
    if batch_statistics:
        axes = (0, *range(2, x.ndim))
        mean, variance = x.mean(axis=axes), x.var(axis=axes)
    else:
        mean, variance = tensors["mean"], tensors["variance"]
    inverse = _per_channel(1 / np.sqrt(variance + op.epsilon), x)
    return (x - _per_channel(mean, x)) * inverse, inverse


def _batch_norm_gradients(
    op: BatchNorm, x: np.ndarray, tensors: Tensors, batch_statistics: bool, grad: np.ndarray
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    axes = (0, *range(2, x.ndim))
    normalised, inverse = _normalise(op, x, tensors, batch_statistics)
    of_parameters = {"scale": (grad * normalised).sum(axis=axes), "shift": grad.sum(axis=axes)}
    grad_normalised = grad * _per_channel(tensors["scale"], x)
    if not batch_statistics:
        return [grad_normalised * inverse], of_parameters
    # Mean and variance depend on x too: their share is the part of the gradient along 1 and along the normalised x.
    along_one = grad_normalised.mean(axis=axes, keepdims=True)
    along_x = (grad_normalised * normalised).mean(axis=axes, keepdims=True)
    return [(grad_normalised - along_one - normalised * along_x) * inverse], of_parameters
