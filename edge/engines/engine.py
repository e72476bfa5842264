"""What every engine on the board offers: the harness, the profiler and the report know nothing more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge.plan.choices import Choices
from edge.plan.footprint import Footprint


@dataclass(frozen=True)
class StepResult:
    """Mean loss over the batch and the number of samples classified correctly before the update, None where a sample
    has no class.

    `frozen_norms` names the batch norms that the step left frozen because a piece of it was a single sample.
    """

    loss: float
    correct: int | None
    frozen_norms: tuple[str, ...] = ()


@dataclass(frozen=True)
class MutationResult:
    """Weights removed and grown by one mutation, over all layers."""

    removed: int
    grown: int


class Engine(Protocol):
    """A network with its optimizer state, ready to train and predict in planned memory.

    Images are float32 `(n, channels, height, width)`, already normalised; labels int64 `(n,)`, or what the network's
    task has in their place.
    """

    name: str
    choices: Choices
    footprint: Footprint

    def train_step(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> StepResult:
        """One optimizer step over a whole batch of up to `choices.batch_size` samples."""

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Logits `(n, classes)`, or answers of the task's other shape, in evaluation mode; any n, in pieces of
        `choices.micro_batch`."""

    def mutate(
        self, prune_to: Mapping[str, float], grow_to: Mapping[str, float], seed: int, gradient_weight: float = 0.0
    ) -> MutationResult:
        """Prune each named layer to a weight sparsity and grow it to another (prune_to >= grow_to)."""

    def snapshot(self) -> dict[str, np.ndarray]:
        """Everything that the next step depends on, by name: parameters, indices, statistics, optimizer state."""

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Continue from a snapshot of the same network and choices; raises DamagedError if it does not fit."""

    def restore_weights(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Take parameters, indices and statistics of a snapshot, whatever was trained there; the optimizer starts anew.

        Raises DamagedError, and changes nothing, if they do not fit.
        """

    def zeros_kept(self) -> bool:
        """True if every weight outside the mask is exactly zero (by construction or checked)."""

    def sparsity(self) -> float:
        """Zeros over weights of the sparse layers."""

    def close(self) -> None:
        """Release memory and threads."""
