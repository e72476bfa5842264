"""Everything of a run that changes while it trains, and how it goes into a checkpoint and comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

from mest.data import DataSet, split_validation
from mest.data.loader import Indices
from mest.errors import DamagedError, InputError
from mest.models import ModelSpec, build_model
from mest.models.build import look_at
from mest.models.notes import notes_of
from mest.ranking.forgetting import MOST_PRESENTATIONS
from mest.ranking.ranking import Ranking, check_ranking, read_ranking
from mest.ranking.removal import RemovalPlan, parse_removal
from mest.ranking.samples import TrainingSamples
from mest.sparse import Sparsifier
from mest.tasks.registry import CLASSIFICATION
from mest.tasks.task import Metric
from mest.train.config import OptimizerConfig, RemovalConfig, TrainConfig, flatten
from mest.train.metrics import EpochRecord
from mest.train.process import Process
from mest.train.sparsify import build_sparsifier
from mest.train.start import Origin, Start


@dataclass(frozen=True)
class Best:
    """The epoch whose checkpoint is kept as the best, and what chose it.

    `accuracy` is the score by the first metric of the run's task, whatever that is.
    """

    epoch: int
    accuracy: float
    loss: float

    def beaten_by(self, score: float, loss: float, metric: Metric) -> bool:
        """True for a better score, or the same with a lower loss."""
        return metric.better(score, self.accuracy) or (score == self.accuracy and loss < self.loss)


@dataclass
class Session:
    """Model, optimizer, masks, samples and history of a run; `epoch` epochs are complete. `notes`: said at its start.

    Every random choice but the sparsifier's (order, augmentation, mixup, dropout) is a function of seed and epoch, so
    a checkpoint between two epochs needs the seed and the state of the sparsifier's generator alone.
    """

    config: TrainConfig
    data: DataSet
    spec: ModelSpec
    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: GradScaler
    sparsifier: Sparsifier
    samples: TrainingSamples
    validation: Indices
    epoch: int = 0
    best: Best | None = None
    history: list[EpochRecord] = field(default_factory=list)
    origin: Origin | None = None
    notes: tuple[str, ...] = ()

    def state(self, options: dict[str, str], lr: float) -> dict[str, Any]:
        """Return the content of a checkpoint."""
        return {
            "config": self.config.as_dict(),
            "options": options,
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "masks": self.sparsifier.masks,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": {"epoch": self.epoch, "lr": lr},
            "scaler": self.scaler.state_dict(),
            "sparsifier": self.sparsifier.state_dict(),
            "generators": {"seed": self.config.seed},
            "samples": self.samples.state_dict(),
            "best": vars(self.best) if self.best else None,
            "history": [record.as_dict() for record in self.history],
            "data": self._identity(),
            "origin": self.origin.as_dict() if self.origin else None,
        }

    def _identity(self) -> dict[str, Any]:
        """What a run can only be continued with: the data, and the order that a ranking file gave."""
        return {"checksum": self.data.checksum, "samples": len(self.data.train), "order": self.samples.order_checksum}

    def restore(self, checkpoint: dict[str, Any], path: Path) -> None:
        """Continue where `checkpoint` was taken.

        Raises InputError if it is of other options or other data, DamagedError if its parts do not fit together.
        """
        stored, asked = flatten(checkpoint["config"]), flatten(self.config.as_dict())
        for config in (stored, asked):
            config.setdefault("task", CLASSIFICATION.name)
            config["data.augment"] = str(config.get("data.augment")).replace("+", "-")  # as it was once spelled
        odd = [key for key in asked if stored.get(key, None) != asked[key]]
        if odd:
            listed = ", ".join(f"{key} was {stored.get(key)} and is now {asked[key]}" for key in odd[:4])
            raise InputError(
                f"--resume {path}: of a run with other options ({listed}); repeat them or give none, or begin a new "
                "run from it: --from RUN --out OTHER"
            )
        for key, ours in self._identity().items():
            if checkpoint["data"].get(key) != ours:
                what = "the --sorting-file" if key == "order" else self.data.name
                raise InputError(f"--resume {path}: {what} is not what the run was started with; restore it")
        try:
            self.model.load_state_dict(checkpoint["model"])
            self.sparsifier.load_state_dict(checkpoint["sparsifier"])
            self.optimizer.load_state_dict(checkpoint["optimizer"])
            self.scaler.load_state_dict(checkpoint["scaler"])
            self.samples.load_state_dict(checkpoint["samples"])
            self.epoch = int(checkpoint["epoch"])
            self.best = Best(**checkpoint["best"]) if checkpoint["best"] else None
            self.history = [EpochRecord(**record) for record in checkpoint["history"]]
            self.origin = Origin.from_dict(checkpoint.get("origin"))
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as wrong:
            reason = str(wrong).splitlines()[0]
            raise DamagedError(f"{path}: its parts do not fit this run ({reason})") from wrong


def open_session(config: TrainConfig, data: DataSet, process: Process, start: Start | None = None) -> Session:
    """Return a run before its first step, with the weights and masks of `start` if it begins with another run's.

    Raises InputError for whatever of the config does not fit data or model.
    """
    spec = ModelSpec(config.model, len(data.class_names), data.train.shape, config.data.task)
    if data.validation is None:
        training, validation = split_validation(data.train.strata, config.validation_fraction, config.seed)
    else:
        validation = data.validation
        training = np.setdiff1d(np.arange(len(data.train), dtype=np.int64), validation)
    model = build_model(spec, config.seed)
    if start is not None:
        start.check(spec, data.class_names)
        model.load_state_dict(start.weights)
    model = model.to(process.device)
    optimizer = build_optimizer(model, config.optimizer)
    found = look_at(model, spec)
    sparsifier = build_sparsifier(model, config, start.masks if start else None, found.unread)
    sparsifier.attach(optimizer)
    plan, ranking = open_removal(config.removal, data, len(training), config.epochs, fewest=2 * process.world)
    samples = TrainingSamples(
        len(data.train),
        training,
        plan,
        ranking=ranking,
        track=config.removal.track,
        seed=config.seed,
        device=process.device,
    )
    if samples.tracker is not None and config.epochs > MOST_PRESENTATIONS:
        raise InputError(f"--epochs {config.epochs}: forgetting is counted over at most {MOST_PRESENTATIONS} epochs")
    smallest = 2 * process.world
    if len(training) < smallest or config.optimizer.batch_size < smallest:
        raise InputError(
            f"{len(training)} training images in batches of {config.optimizer.batch_size} "
            f"for {process.world} process(es); each needs at least 2 in every batch"
        )
    scaler = GradScaler(process.device.type, enabled=config.amp and process.device.type == "cuda")
    origin, notes = start.origin if start else None, notes_of(found)
    return Session(
        config, data, spec, model, optimizer, scaler, sparsifier, samples, validation, origin=origin, notes=notes
    )


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Return the optimizer over all parameters; its rate is set at every epoch."""
    parameters = list(model.parameters())
    if config.kind == "sgd":
        return torch.optim.SGD(
            parameters,
            config.lr,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
        )
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.kind]
    return kind(parameters, config.lr, weight_decay=config.weight_decay)


def open_removal(
    config: RemovalConfig, data: DataSet, samples: int, epochs: int, fewest: int
) -> tuple[RemovalPlan, Ranking | None]:
    """Return what is removed when, and the ranking that decides, if a file gives it; `fewest` samples must stay."""
    ranking = None
    if config.sorting_file is not None:
        ranking = read_ranking(Path(config.sorting_file))
        check_ranking(ranking, data.name, len(data.train), data.checksum, config.ranking_unchecked)
    plan = parse_removal(
        config.remove_n,
        config.remove_data_epoch,
        samples=samples,
        epochs=epochs,
        ordered=ranking is not None,
        keep_lowest=config.keep_lowest,
        restore_every_epochs=config.restore_every_epochs,
        fewest=fewest,
    )
    if config.track and ranking is None and plan.removing(0):
        raise InputError(
            "--write-ranking would know nothing of the samples that go at random at epoch 0; "
            "give a later --remove-data-epoch, or no --write-ranking"
        )
    return plan, ranking
