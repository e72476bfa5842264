"""Where a run is: what a state holds of it beside arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edge.errors import DamagedError
from edge.files.decode import decode
from edge.tasks.metric import ACCURACY, Metric


@dataclass(frozen=True)
class Position:
    """Where a run is: everything beside arrays that the next step depends on.

    What is called accuracy is the first metric of the network's task: accuracy where samples have classes.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    at_target: bool = True
    finished: bool = False
    accuracy_before: float | None = None
    best_accuracy: float | None = None
    best_epoch: int | None = None
    kept_epoch: int | None = None  # whose weights the finished run came back to
    epochs_without_gain: int = 0
    epoch_loss: float = 0.0  # sum over the samples of the running epoch
    epoch_correct: int = 0
    epoch_samples: int = 0
    stopped_early: str | None = None
    epochs: tuple[dict[str, Any], ...] = ()  # mean loss and accuracies of each finished epoch
    mutations: tuple[dict[str, int], ...] = ()

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Position:
        """The position that `asdict` gave; raises DamagedError naming the field that is of another type."""
        from edge.report.record import EpochPoint, MutationPoint  # not before: a new run need not hold it

        found = decode(cls, document, "state: position")
        counts = (found.epoch, found.batch, found.step, found.epoch_correct, found.epoch_samples)
        if min(counts) < 0:
            raise DamagedError(f"state: position: epoch, batch, step and samples {counts} cannot be below 0")
        for number, epoch in enumerate(found.epochs):
            decode(EpochPoint, epoch, f"state: position.epochs[{number}]")
        for number, event in enumerate(found.mutations):
            decode(MutationPoint, event, f"state: position.mutations[{number}]")
        return found

    def after_epoch(
        self, accuracy: float | None, epochs: int, patience: int, metric: Metric = ACCURACY
    ) -> tuple[Position, bool]:
        """The position after an epoch's last batch, and whether its held-out accuracy is the best of those at target.

        The run is finished after `epochs`, or after `patience` of them without a gain (0: never).
        """
        epoch, total = self.epoch + 1, max(self.epoch_samples, 1)
        judged = accuracy is not None and self.at_target  # denser networks are no measure for what will be kept
        best = self.best_accuracy
        gained = judged and (best is None or metric.better(accuracy, best))  # type: ignore[arg-type]
        waited = self.epochs_without_gain + 1 if judged and not gained else 0
        early = f"no better held-out {metric.label} for {waited} epochs" if patience and waited >= patience else None
        summary = {
            "epoch": epoch,
            "loss": self.epoch_loss / total,
            "accuracy": accuracy,
            "train_accuracy": self.epoch_correct / total if metric is ACCURACY else None,
        }
        after = replace(
            self,
            epoch=epoch,
            batch=0,
            finished=epoch >= epochs or early is not None,
            best_accuracy=accuracy if gained else self.best_accuracy,
            best_epoch=epoch if gained else self.best_epoch,
            epochs_without_gain=waited,
            epoch_loss=0.0,
            epoch_correct=0,
            epoch_samples=0,
            stopped_early=early,
            epochs=(*self.epochs, summary),
        )
        return after, gained
