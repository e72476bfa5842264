"""Fine-tuning within a plan: a loop that can be stopped at any moment and continued to the same weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge import chance
from edge.batches import AUGMENTS, Batches, Split
from edge.budget import memory_errors
from edge.errors import DamagedError, InputError
from edge.forgetting import Forgetting
from edge.memory import give_back_freed
from edge.schedule import LEARNING_RATES, MUTATIONS, learning_rate, mutation_bounds, mutation_ratio
from edge.session import HARNESS, Session
from edge.state import remove_state, write_state
from edge.timeline import Timeline

BEST = "best"  # the folder in the state's that holds the best epoch until the run ends
_MUTATION_KEY = 4
_MARKS = f"{HARNESS}forgetting"


@dataclass(frozen=True)
class Settings:
    """How a run is trained, apart from its plan; a state pins all of it but `save_every`.

    `warmup` is a share of the run. `mutate_every` and `save_every` count steps. `patience` is the number of epochs
    without a better held-out accuracy after which the run ends (0: never); with it the weights of the best epoch are
    kept, of those at the target sparsity, else those of the last. `drop_after` is the epoch after which samples that
    were never forgotten are dropped (0: never).
    """

    epochs: int = 5
    learning_rate: float = 0.01
    schedule: str = "cosine"
    warmup: float = 0.0
    seed: int = 0
    augment: str = "none"
    hold_out: float = 0.1
    mutate: str = "none"
    mutate_every: int = 50
    gradient_weight: float = 0.0
    patience: int = 0
    drop_after: int = 0
    save_every: int = 100

    def __post_init__(self) -> None:
        problems = [
            (self.epochs < 1, f"--epochs {self.epochs}: must be 1 or more"),
            (not 0 < self.learning_rate < math.inf, f"--lr {self.learning_rate}: must be above 0"),
            (
                self.schedule not in LEARNING_RATES,
                f"--lr-scheduler {self.schedule}: allowed {', '.join(LEARNING_RATES)}",
            ),
            (not 0 <= self.warmup < 1, f"--warmup {self.warmup}: must be from 0 to below 1, a share of the run"),
            (self.augment not in AUGMENTS, f"--augment {self.augment}: allowed are {', '.join(AUGMENTS)}"),
            (not 0 <= self.hold_out < 1, f"--hold-out {self.hold_out}: must be from 0 to below 1"),
            (self.mutate not in MUTATIONS, f"--mutate {self.mutate}: allowed are {', '.join(MUTATIONS)}"),
            (self.mutate_every < 1, f"--mutate-every {self.mutate_every}: must be 1 or more steps"),
            (self.save_every < 1, f"--save-every {self.save_every}: must be 1 or more steps"),
            (self.patience < 0 or self.drop_after < 0, "--patience and --drop-after must be 0 or more epochs"),
            (self.patience > 0 and self.hold_out == 0, "--patience needs held-out samples; give --hold-out above 0"),
        ]
        wrong = [text for bad, text in problems if bad]
        if wrong:
            raise InputError("; ".join(wrong))


@dataclass(frozen=True)
class Position:
    """Where a run is: everything beside arrays that the next step depends on."""

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
        """The position that `asdict` gave."""
        try:
            found = cls(**document)
        except TypeError as error:
            raise DamagedError(f"state: its position is not one of ours ({error})") from None
        return replace(found, epochs=tuple(found.epochs), mutations=tuple(found.mutations))


@dataclass(frozen=True)
class Moment:
    """What a person watching wants to know after a step."""

    step: int
    epoch: int
    progress: float  # 0 to 1
    loss: float
    seconds_left: float | None
    resident_bytes: int | None


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    position: Position
    stopped: bool
    accuracy_after: float | None
    sparsity: float
    zeros_kept: bool
    timeline: Timeline = field(repr=False)


class FineTuning:
    """One run over a session, its data and a state directory."""

    def __init__(
        self,
        session: Session,
        batches: Batches,
        split: Split,
        settings: Settings,
        state: Path,
        facts: Mapping[str, Any],
        samples: int,
    ) -> None:
        """`facts` are written into every state beside settings and position; `samples` is the size of the data set."""
        self._session = session
        self._engine = session.engine
        self._batches = batches
        self._split = split
        self._settings = settings
        self._state = state
        self._best = state / BEST
        self._facts = dict(facts)
        self._targets = session.artifact.mutation_targets(session.plan.choices.trainable)
        self._forgetting = Forgetting(samples) if settings.drop_after else None
        self._saved_step: int | None = None
        self.position = Position()
        self.timeline = Timeline()

    def resume(self, position: Position) -> None:
        """Continue from the state directory's arrays at a position that its facts gave."""
        kept = self._session.restore(self._state)
        if self._forgetting is not None:
            self._forgetting = Forgetting(0, kept[_MARKS])
        self.position = position
        self._saved_step = position.step

    def run(self, stop: Callable[[], bool], watch: Callable[[Moment], None]) -> Outcome:
        """Train to the end, or until `stop`; the state is complete when this returns or raises."""
        if self._saved_step is None:
            self._move(accuracy_before=self._accuracy())
            self.save()
        stopped = False
        while not self.position.finished and not stopped:
            stopped = self._epoch(stop, watch)
        if self.position.finished:
            self._come_back_to_best()
        after = None if stopped else self._accuracy()
        self._session.check()
        return Outcome(self.position, stopped, after, self._session.sparsity, self._engine.zeros_kept(), self.timeline)

    def _move(self, **changes: Any) -> None:
        self.position = replace(self.position, **changes)

    def _accuracy(self) -> float | None:
        return self._session.accuracy(self._batches, self._split.held_out)

    def _epoch(self, stop: Callable[[], bool], watch: Callable[[Moment], None]) -> bool:
        """True if the run was stopped inside the epoch."""
        epoch, size = self.position.epoch, self._session.plan.choices.batch_size
        if self._forgetting is not None and epoch == self._settings.drop_after and self.position.batch == 0:
            self._forgetting.drop_unforgotten(self._split.train, size, self._settings.seed)
        samples = self._split.train if self._forgetting is None else self._forgetting.kept(self._split.train)
        order = self._batches.order(samples, epoch)
        count = -(-len(order) // size)
        self._session.meter.enter("train")
        while self.position.batch < count:
            batch = self.position.batch
            progress = (epoch + batch / count) / self._settings.epochs
            loss = self._step(order[batch * size : (batch + 1) * size], progress)
            self._move(batch=batch + 1, step=self.position.step + 1)
            reached = (epoch + (batch + 1) / count) / self._settings.epochs
            self._mutate_if_due(reached)
            self._session.check()
            watch(self._moment(reached, loss))
            if batch + 1 < count:
                stopping = stop()
                if stopping or self.position.step % self._settings.save_every == 0:
                    self.save()
                if stopping:
                    return True
        self._close_epoch()
        self.save()
        return stop() and not self.position.finished

    def _step(self, samples: np.ndarray, progress: float) -> float:
        settings, position = self._settings, self.position
        started = time.perf_counter()
        with memory_errors(f"step {position.step + 1}"):
            images, labels = self._batches.read(samples, position.epoch)
            read = time.perf_counter()
            if self._forgetting is not None and position.epoch < settings.drop_after:
                self._forgetting.observe(samples, self._engine.predict(images).argmax(axis=1) == labels)
            rate = learning_rate(settings.schedule, settings.learning_rate, progress, settings.warmup)
            result = self._engine.train_step(images, labels, rate)
        if not math.isfinite(result.loss):
            raise InputError(
                f"the loss is no longer finite at step {position.step + 1} (learning rate {rate:.3g}); the last good "
                f"state, step {self._saved_step}, is kept; start again with a smaller --lr"
            )
        self._move(
            epoch_loss=position.epoch_loss + result.loss * len(samples),
            epoch_correct=position.epoch_correct + result.correct,
            epoch_samples=position.epoch_samples + len(samples),
        )
        ended = time.perf_counter()
        resident = self._session.meter.resident
        self.timeline.add(position.step + 1, result.loss, (ended - read) * 1e3, (read - started) * 1e3, rate, resident)
        return result.loss

    def _mutate_if_due(self, progress: float) -> None:
        """Mutate after a step, so that its gradient is there for the score and no state is saved in between."""
        settings = self._settings
        if settings.mutate == "none" or not self._targets:
            return
        ratio = mutation_ratio(progress)
        if (ratio and self.position.step % settings.mutate_every == 0) or (not ratio and not self.position.at_target):
            bounds = mutation_bounds(settings.mutate, self._targets, progress)
            self._session.meter.enter("mutate")
            with memory_errors("mutating"):
                seed = chance.mix(settings.seed, _MUTATION_KEY, self.position.step) & 0x7FFFFFFF
                result = self._engine.mutate(bounds.prune_to, bounds.grow_to, seed, settings.gradient_weight)
            give_back_freed()
            self._session.meter.enter("train")
            event = {"step": self.position.step, "removed": result.removed, "grown": result.grown}
            at_target = settings.mutate == "em" or bounds.at_target
            self._move(at_target=at_target, mutations=(*self.position.mutations, event))

    def _close_epoch(self) -> None:
        position, settings = self.position, self._settings
        epoch = position.epoch + 1
        accuracy = self._accuracy() if settings.patience else None
        judged = accuracy is not None and position.at_target  # denser networks are no measure for what will be kept
        gained = judged and (position.best_accuracy is None or accuracy > position.best_accuracy)  # type: ignore[operator]
        waited = position.epochs_without_gain + 1 if judged and not gained else 0
        early = None
        if settings.patience and waited >= settings.patience:
            early = f"no better held-out accuracy for {waited} epochs"
        total = max(position.epoch_samples, 1)
        summary = {
            "epoch": epoch,
            "loss": position.epoch_loss / total,
            "accuracy": accuracy,
            "train_accuracy": position.epoch_correct / total,
        }
        self._move(
            epoch=epoch,
            batch=0,
            finished=epoch >= settings.epochs or early is not None,
            best_accuracy=accuracy if gained else position.best_accuracy,
            best_epoch=epoch if gained else position.best_epoch,
            epochs_without_gain=waited,
            epoch_loss=0.0,
            epoch_correct=0,
            epoch_samples=0,
            stopped_early=early,
            epochs=(*position.epochs, summary),
        )
        if gained:
            self._write(self._best)  # before the state that speaks of it

    def _come_back_to_best(self) -> None:
        """Take the best epoch's weights from the disk, where they were put: none are held twice."""
        position = self.position
        if position.best_epoch not in (None, position.epoch) and position.kept_epoch is None:
            self._session.meter.enter("load")
            self._session.restore(self._best)
            self._move(kept_epoch=position.best_epoch)
            self.save()
        remove_state(self._best)

    def save(self) -> None:
        """Write a complete state."""
        self._write(self._state)
        self._saved_step = self.position.step

    def _write(self, folder: Path) -> None:
        self._session.meter.enter("save")
        with memory_errors("saving"):
            tensors = self._engine.snapshot()
            if self._forgetting is not None:
                tensors[_MARKS] = self._forgetting.marks
            facts = {**self._facts, "settings": asdict(self._settings), "position": asdict(self.position)}
            write_state(folder, facts, tensors)
        self._session.meter.enter("train")

    def _moment(self, progress: float, loss: float) -> Moment:
        position = self.position
        left = self.timeline.seconds_left(progress)
        return Moment(position.step, position.epoch, progress, loss, left, self._session.meter.resident)
