"""The callback for Hugging Face's Trainer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from mest.durable import write_durably
from mest.errors import DamagedError, InputError
from mest.loops.course import Course
from mest.sparse import Sparsifier

FILE = "mest_sparsifier.pt"
_LOGGER = logging.getLogger(__name__)


class SparseTrainerCallback(TrainerCallback):
    """Makes a Trainer's model sparse as its training begins, mutates it, and keeps its state in the checkpoints."""

    def __init__(self, options: Mapping[str, Any], steps_per_epoch: int | None, resume_from: str | Path | None) -> None:
        self._course = Course(options, steps_per_epoch)
        self._resume_from = resume_from
        self._epoch = 0

    @property
    def sparsifier(self) -> Sparsifier:
        """The sparsifier; raises InputError before training has begun."""
        if self._course.sparsifier is None:
            raise InputError("the sparsifier is made when training begins; call trainer.train() first")
        return self._course.sparsifier

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        **others: Any,
    ) -> None:
        """Make the sparsifier: model and optimizer are those of the checkpoint where one is resumed."""
        saved = None
        if state.global_step:
            saved = _read(Path(self._resume_from) if self._resume_from else _folder(args, state.global_step))
        countless = state.num_train_epochs > state.max_steps > 0  # of a data set without a length
        self._course.begin(model, [optimizer], None if countless else state.num_train_epochs, state.max_steps, saved)
        self._epoch = int(state.epoch + 1e-6)

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Mutate where an epoch of the Trainer is one of the schedule."""
        self._course.at_epoch(self._epoch)
        self._epoch += 1

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Mutate where the schedule counts steps."""
        self._course.at_step(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any) -> None:
        """Finish before the last evaluation and the last checkpoint."""
        if state.global_step >= state.max_steps:
            self._course.finish()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any) -> None:
        """Put the state into the checkpoint that was just written."""
        folder = _folder(args, state.global_step)
        if state.is_world_process_zero and folder.is_dir():
            content = self.sparsifier.state_dict()
            write_durably(folder / FILE, lambda file: torch.save(content, file))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Follow the Trainer to its best checkpoint, and finish where it stopped early."""
        best = state.best_model_checkpoint
        if args.load_best_model_at_end and best is not None:
            self.sparsifier.load_state_dict(_read(Path(best)))
        self._course.finish(_LOGGER.warning)


def _folder(args: TrainingArguments, step: int) -> Path:
    return Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{step}"


def _read(folder: Path) -> Mapping[str, Any]:
    """The sparsifier's state in a checkpoint of the Trainer."""
    path = folder / FILE
    if not path.is_file():
        raise InputError(
            f"{path}: not there; give the folder of the resumed checkpoint: trainer_callback(resume_from=...). One that"
            " was saved without this callback holds no masks, and a run of it cannot go on sparse"
        )
    try:
        state: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 - and no more
    except Exception as failed:  # whatever a damaged archive makes torch raise
        raise DamagedError(f"{path}: not readable ({str(failed).splitlines()[0][:120]})") from failed
    return state
