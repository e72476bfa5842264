"""Arithmetic of two operands that are broadcast to one another, forward and backward."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from edge.engines.reference.operators.rule import Gradients, Rule, Tensors
from edge.network import Arithmetic

Pair = tuple[np.ndarray, np.ndarray]


class ArithmeticRule(Rule[Arithmetic]):
    """`value` and `gradients` of the left and the right operand, already broadcast."""

    @abstractmethod
    def value(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """What the operator writes."""

    @abstractmethod
    def gradients(self, left: np.ndarray, right: np.ndarray, grad: np.ndarray) -> Pair:
        """The gradients of both, from that of the value."""

    def forward(
        self, op: Arithmetic, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool
    ) -> np.ndarray:
        """The value."""
        return _back(op, np.asarray(self.value(*_operands(op, inputs, tensors))))

    def backward(
        self, op: Arithmetic, inputs: Sequence[np.ndarray], tensors: Tensors, batch_statistics: bool, grad: np.ndarray
    ) -> Gradients:
        """Summed over whatever an operand was broadcast along."""
        operands = _operands(op, inputs, tensors)
        spread = np.broadcast_arrays(*operands)
        back = [
            _folded(found, own.shape)
            for found, own in zip(self.gradients(spread[0], spread[1], _turned(op, grad)), operands, strict=True)
        ]
        if not tensors:
            return back, {}
        (role,) = tensors
        return [_back(op, back[op.stored_first])], {role: back[not op.stored_first]}


class AddRule(ArithmeticRule):
    """x + y."""

    def value(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """x + y."""
        return left + right

    def gradients(self, left: np.ndarray, right: np.ndarray, grad: np.ndarray) -> Pair:
        """The same for both."""
        return grad, grad


class SubRule(ArithmeticRule):
    """x - y."""

    def value(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """x - y."""
        return left - right

    def gradients(self, left: np.ndarray, right: np.ndarray, grad: np.ndarray) -> Pair:
        """Its opposite for the right one."""
        return grad, -grad


class MulRule(ArithmeticRule):
    """x · y."""

    def value(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """x · y."""
        return left * right

    def gradients(self, left: np.ndarray, right: np.ndarray, grad: np.ndarray) -> Pair:
        """Each times the other."""
        return grad * right, grad * left


class DivRule(ArithmeticRule):
    """x / y."""

    def value(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """x / y."""
        return left / right

    def gradients(self, left: np.ndarray, right: np.ndarray, grad: np.ndarray) -> Pair:
        """1 / y and -x / y²."""
        return grad / right, -grad * left / (right * right)


class PReluRule(ArithmeticRule):
    """x, or x · y from 0 down."""

    def value(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """x above 0, x · y elsewhere."""
        return np.where(left > 0, left, left * right)

    def gradients(self, left: np.ndarray, right: np.ndarray, grad: np.ndarray) -> Pair:
        """That of the lower side at 0 itself, as in PyTorch."""
        return np.where(left > 0, grad, grad * right), np.where(left > 0, 0, grad * left)


def _operands(op: Arithmetic, inputs: Sequence[np.ndarray], tensors: Tensors) -> Pair:
    left, right = (*(_turned(op, value) for value in inputs), *tensors.values())
    return (right, left) if op.stored_first else (left, right)


def _turned(op: Arithmetic, value: np.ndarray) -> np.ndarray:
    """A value of a batch with its channels where the stored tensor has them."""
    return np.moveaxis(value, 1, -1) if op.features_last else value


def _back(op: Arithmetic, value: np.ndarray) -> np.ndarray:
    """The reverse of `_turned`."""
    return np.moveaxis(value, -1, 1) if op.features_last else value


def _folded(grad: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A gradient summed to the shape that was broadcast to its own."""
    grad = grad.sum(axis=tuple(range(grad.ndim - len(shape))))
    along = tuple(axis for axis, size in enumerate(shape) if size == 1 and grad.shape[axis] != 1)
    return np.asarray(grad.sum(axis=along, keepdims=True))
