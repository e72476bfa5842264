"""Activations made of exponential functions or with numbers of their own, as pairs of a value and its derivative."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edge.engines.reference.operators.rule import Gradients, Rule, Tensors
from edge.network import Operator
from edge.network.operators.activation_functions import Celu, Clip, Elu, HardSigmoid, LeakyRelu, Softplus

Function = Callable[[np.ndarray, Any], np.ndarray]  # of the input and the operator


class FunctionRule(Rule[Operator]):
    """A function of one number: `value` is what it gives, `slope` its derivative."""

    def __init__(self, value: Function, slope: Function) -> None:
        self.value, self.slope = value, slope

    def forward(
        self, op: Operator, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool
    ) -> np.ndarray:
        """Its value at every number."""
        (x,) = inputs
        return self.value(x, op).astype(x.dtype)

    def backward(
        self, op: Operator, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """The gradient times its derivative."""
        (x,) = inputs
        return [(grad * self.slope(x, op)).astype(grad.dtype)], {}


def sigmoid(x: np.ndarray, op: object = None) -> np.ndarray:
    """1 / (1 + exp(-x)), as precise towards 0 as towards 1."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def sigmoid_slope(x: np.ndarray, op: object = None) -> np.ndarray:
    """e / (1 + e)² with e = exp(-|x|)."""
    e = np.exp(-np.abs(x))
    return np.asarray(e / (1 + e) ** 2)


def silu(x: np.ndarray, op: object) -> np.ndarray:
    """x · sigmoid(x)."""
    return x * sigmoid(x)


def silu_slope(x: np.ndarray, op: object) -> np.ndarray:
    """By the rule for products."""
    return sigmoid(x) + x * sigmoid_slope(x)


def hard_sigmoid(x: np.ndarray, op: HardSigmoid) -> np.ndarray:
    """min(max(alpha · x + beta, 0), 1)."""
    return np.clip(op.alpha * x + op.beta, 0, 1)


def hard_sigmoid_slope(x: np.ndarray, op: HardSigmoid) -> np.ndarray:
    """Nothing at both ends themselves, as in PyTorch."""
    line = op.alpha * x + op.beta
    return np.where((line > 0) & (line < 1), op.alpha, 0)


def tanh(x: np.ndarray, op: object) -> np.ndarray:
    """The hyperbolic tangent."""
    return np.tanh(x)


def tanh_slope(x: np.ndarray, op: object) -> np.ndarray:
    """1 - tanh², without its cancellation."""
    return 4 * sigmoid_slope(2 * x)


def gelu(x: np.ndarray, op: object) -> np.ndarray:
    """x · Φ(x)."""
    return x * _normal(x)


def gelu_slope(x: np.ndarray, op: object) -> np.ndarray:
    """Φ(x) + x · φ(x)."""
    return _normal(x) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def gelu_tanh(x: np.ndarray, op: object) -> np.ndarray:
    """x · sigmoid(2 · √(2/π) · (x + 0.044715 · x³)), which is the same."""
    return x * sigmoid(_inner(x))


def gelu_tanh_slope(x: np.ndarray, op: object) -> np.ndarray:
    """By the rules for products and chains; the inner slope is bounded where the outer one is nothing."""
    inner_slope = 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * np.clip(x, -30, 30) ** 2)
    return sigmoid(_inner(x)) + x * sigmoid_slope(_inner(x)) * inner_slope


def leaky_relu(x: np.ndarray, op: LeakyRelu) -> np.ndarray:
    """x, or alpha · x below 0."""
    return np.where(x < 0, op.alpha * x, x)


def leaky_relu_slope(x: np.ndarray, op: LeakyRelu) -> np.ndarray:
    """That of the lower side at 0 itself, as in PyTorch."""
    return np.where(x > 0, 1, op.alpha)


def elu(x: np.ndarray, op: Elu) -> np.ndarray:
    """beta · x, or beta · alpha · (exp(x) - 1) below 0."""
    return op.beta * np.where(x < 0, op.alpha * np.expm1(np.minimum(x, 0)), x)


def elu_slope(x: np.ndarray, op: Elu) -> np.ndarray:
    """That of the lower side at 0 itself, as in PyTorch."""
    return op.beta * np.where(x > 0, 1, op.alpha * np.exp(np.minimum(x, 0)))


def celu(x: np.ndarray, op: Celu) -> np.ndarray:
    """x, or alpha · (exp(x / alpha) - 1) below 0."""
    return np.where(x < 0, op.alpha * np.expm1(np.minimum(x, 0) / op.alpha), x)


def celu_slope(x: np.ndarray, op: Celu) -> np.ndarray:
    """exp(x / alpha) below 0."""
    return np.exp(np.minimum(x, 0) / op.alpha)


def softplus(x: np.ndarray, op: Softplus) -> np.ndarray:
    """log(1 + exp(beta · x)) / beta, and x above the threshold."""
    return np.where(op.beta * x > op.threshold, x, np.logaddexp(0, op.beta * x) / op.beta)


def softplus_slope(x: np.ndarray, op: Softplus) -> np.ndarray:
    """sigmoid(beta · x), and 1 above the threshold."""
    return np.where(op.beta * x > op.threshold, 1, sigmoid(op.beta * x))


def clip(x: np.ndarray, op: Clip) -> np.ndarray:
    """min(max(x, low), high)."""
    return np.clip(x, op.low, op.high)


def clip_slope(x: np.ndarray, op: Clip) -> np.ndarray:
    """Nothing at both bounds themselves, as in PyTorch's hardtanh."""
    return np.where((x > op.low) & (x < op.high), 1, 0)


def exp(x: np.ndarray, op: object) -> np.ndarray:
    """exp(x), its own derivative."""
    return np.asarray(np.exp(x))


def sqrt(x: np.ndarray, op: object) -> np.ndarray:
    """√x, 0 below 0."""
    return np.asarray(np.sqrt(np.maximum(x, 0)))


def sqrt_slope(x: np.ndarray, op: object) -> np.ndarray:
    """1 / (2 √x), 0 where the value is."""
    return np.where(x > 0, 0.5 / np.sqrt(np.where(x > 0, x, 1)), 0)


def mish(x: np.ndarray, op: object) -> np.ndarray:
    """x · tanh(softplus(x))."""
    return x * np.tanh(np.logaddexp(0, x))


def mish_slope(x: np.ndarray, op: object) -> np.ndarray:
    """By the rules for products and chains."""
    inner = np.logaddexp(0, x)
    return np.tanh(inner) + x * 4 * sigmoid_slope(2 * inner) * sigmoid(x)


def _inner(x: np.ndarray) -> np.ndarray:
    return 2 * math.sqrt(2 / math.pi) * (x + 0.044715 * np.clip(x, -30, 30) ** 3)


def _normal(x: np.ndarray) -> np.ndarray:
    """Φ(x), as precise in the lower tail."""
    complement = np.frompyfunc(math.erfc, 1, 1)
    return np.asarray(complement(-x / math.sqrt(2)), np.float64) / 2
