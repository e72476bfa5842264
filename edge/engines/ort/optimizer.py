"""One optimizer step in place over flat arrays, as PyTorch defines SGD and AdamW.

onnxruntime-training's own SGD has neither momentum nor weight decay, and its optimizer keeps its state where mutation
cannot reach it; weights and gradients are open to us as memory, so the update is made here.
"""

from __future__ import annotations

import numpy as np

from edge.plan.choices import OptimizerChoice

_PIECE = 1 << 15  # elements; the scratch stays in the cache


class Optimizer:
    """Updates weights from gradients; `state` holds each weight's arrays (momentum, or first and second moment)."""

    SCRATCH_BYTES = 2 * 4 * _PIECE

    def __init__(self, choice: OptimizerChoice, sizes: dict[str, int]) -> None:
        self.choice = choice
        self.steps = 0
        self.state = {
            name: tuple(np.zeros(size, np.float32) for _ in range(choice.state_per_weight))
            for name, size in sizes.items()
        }
        self._a = np.empty(_PIECE, np.float32)
        self._b = np.empty(_PIECE, np.float32)

    def begin_step(self) -> None:
        """Count a step; call once before the updates of all weights."""
        self.steps += 1

    def update(self, name: str, weight: np.ndarray, gradient: np.ndarray, learning_rate: float) -> None:
        """Update one flat weight in place."""
        rule = self._adamw if self.choice.kind == "adamw" else self._sgd
        for start in range(0, weight.size, _PIECE):
            piece = slice(start, start + _PIECE)
            rule(weight[piece], gradient[piece], [array[piece] for array in self.state[name]], learning_rate)

    def _sgd(self, weight: np.ndarray, gradient: np.ndarray, state: list[np.ndarray], learning_rate: float) -> None:
        step, spare = self._a[: weight.size], self._b[: weight.size]
        np.multiply(weight, np.float32(self.choice.weight_decay), out=step)
        step += gradient
        if state:
            momentum, buffer = np.float32(self.choice.momentum), state[0]
            buffer *= momentum
            buffer += step
            if self.choice.nesterov:
                np.multiply(buffer, momentum, out=spare)
                step += spare
            else:
                step = buffer
        np.multiply(step, np.float32(learning_rate), out=spare)
        weight -= spare

    def _adamw(self, weight: np.ndarray, gradient: np.ndarray, state: list[np.ndarray], learning_rate: float) -> None:
        first, second = state
        a, b, choice = self._a[: weight.size], self._b[: weight.size], self.choice
        weight *= np.float32(1 - learning_rate * choice.weight_decay)
        first *= np.float32(choice.beta1)
        np.multiply(gradient, np.float32(1 - choice.beta1), out=a)
        first += a
        second *= np.float32(choice.beta2)
        np.multiply(gradient, gradient, out=a)
        a *= np.float32(1 - choice.beta2)
        second += a
        np.sqrt(second, out=a)
        a /= np.float32((1 - choice.beta2**self.steps) ** 0.5)
        a += np.float32(choice.epsilon)
        np.divide(first, a, out=b)
        b *= np.float32(learning_rate / (1 - choice.beta1**self.steps))
        weight -= b
