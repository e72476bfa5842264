"""The callback for Lightning's Trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from mest.errors import InputError
from mest.loops.course import Course
from mest.sparse import Sparsifier


class SparseLightningCallback(Callback):
    """Makes a module sparse as its training begins, mutates it, and has its state in Lightning's checkpoints."""

    def __init__(self, options: Mapping[str, Any], steps_per_epoch: int | None) -> None:
        self._course = Course(options, steps_per_epoch)
        self._restored: Mapping[str, Any] | None = None

    @property
    def sparsifier(self) -> Sparsifier:
        """The sparsifier; raises InputError before training has begun."""
        if self._course.sparsifier is None:
            raise InputError("the sparsifier is made when training begins; call trainer.fit(module) first")
        return self._course.sparsifier

    def state_dict(self) -> dict[str, Any]:
        """What Lightning's checkpoints keep."""
        return {} if self._course.sparsifier is None else self._course.sparsifier.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until the optimizers are there."""
        self._restored = state_dict or None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the sparsifier: module and optimizers are those of the checkpoint where one is resumed."""
        if trainer.global_step and self._restored is None:
            raise InputError(
                "the resumed checkpoint was saved without this callback, so it holds no masks; begin a new run with its"
                " weights, or resume it without the callback"
            )
        epochs = trainer.max_epochs if trainer.max_epochs is not None and trainer.max_epochs > 0 else None
        if epochs is None or self._course.steps_per_epoch is None:
            steps = trainer.max_steps if trainer.max_steps > 0 else None
        else:
            steps = int(trainer.estimated_stepping_batches)
        self._course.begin(pl_module, trainer.optimizers, epochs, steps, self._restored)
        self._restored = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Mutate where an epoch of the Trainer is one of the schedule."""
        self._course.at_epoch(trainer.current_epoch)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Mutate where the schedule counts steps."""
        self._course.at_step(trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Finish before the last validation and the last checkpoint."""
        last_epoch = trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs
        if (last_epoch and trainer.is_last_batch) or 0 < trainer.max_steps <= trainer.global_step:
            self._course.finish()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the module's logger the sparsity."""
        pl_module.log("weight_sparsity", self.sparsifier.sparsity)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish where training stopped early."""
        self._course.finish(rank_zero_warn)
