"""Fine-tuning within a plan: a loop that can be stopped at any moment and continued to the same weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edge import chance
from edge.data.batches import Batches, Split
from edge.data.sample_list import SampleList
from edge.errors import BudgetError, DamagedError, InputError, StopRequested
from edge.handover.state import remove_state, write_state
from edge.host.counters import give_back_freed
from edge.host.limits import memory_errors
from edge.run.course import Timeline
from edge.run.finite import not_finite, rows_not_finite
from edge.run.forgetting import Forgetting
from edge.run.listener import EpochEnd, Listener
from edge.run.position import Position
from edge.run.rate import fallen, learning_rate, milestones_of, mutation_bounds, mutation_ratio
from edge.run.session import HARNESS, Session
from edge.run.settings import Settings
from edge.spelling import named

BEST = "best"  # the folder in the state's that holds the best epoch until the run ends
_MUTATION_KEY = 4
_MARKS = f"{HARNESS}forgetting"
_Found = TypeVar("_Found")


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
    scores_after: tuple[float, ...] | None  # by every metric of the task
    sparsity: float
    zeros_kept: bool
    timeline: Timeline = field(repr=False)
    saved: bool = True  # False where it was stopped before there was a state

    @property
    def score_after(self) -> float | None:
        """The score that decides, accuracy where samples have classes."""
        return None if self.scores_after is None else self.scores_after[0]


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
        samples: SampleList,
        listener: Listener,
    ) -> None:
        """`facts` are written into every state beside settings and position, `samples` once beside the first."""
        self._session = session
        self._engine = session.engine
        self._batches = batches
        self._split = split
        self._settings = settings
        self._state = state
        self._best = state / BEST
        self._listener = listener
        self._facts = {**facts, "samples": samples.name}
        self._samples: SampleList | None = samples
        self._targets = session.artifact.mutation_targets(session.plan.choices.trainable)
        self._forgetting = Forgetting(len(samples.keys)) if settings.drop_after else None
        self._saved_step: int | None = None
        self._trained: np.ndarray | None = None  # images of the last batch
        self._stop: Callable[[], bool] = lambda: False
        self.position = Position()
        self.timeline = Timeline()

    def resume(self, position: Position, places: np.ndarray | None = None, more_epochs: bool = False) -> None:
        """Continue from the state directory's arrays at a position that its facts gave.

        `places` are the samples' numbers in the run so far, -1 for a new one, where they are no longer the same. With
        `more_epochs` a finished run goes on to the epochs of its settings.
        """
        kept = self._session.restore(self._state)
        if self._forgetting is not None:
            marks, wanted = kept.get(_MARKS), self._forgetting.marks
            count = len(wanted) if places is None else 1 + int(places.max(initial=-1))  # the run's own, if data changed
            known = marks is not None and marks.dtype == wanted.dtype and marks.ndim == 1
            if marks is None or not known or len(marks) < count or (places is None and len(marks) != count):
                raise DamagedError(f"{self._state}: has no marks of what was forgotten, for {count} samples")
            self._forgetting = Forgetting(0, marks if places is None else np.where(places >= 0, marks[places], 0))
        self.position = position
        self._saved_step = position.step
        if more_epochs:
            self._go_on()

    def _go_on(self) -> None:
        """Open a finished run again; its best epoch stays the one to beat."""
        position = self.position
        if position.best_epoch is not None:
            if position.kept_epoch is None and position.best_epoch != position.epoch:
                self._session.restore(self._best)  # it was killed before it came back to them
            else:
                self._write(self._best)
        self._move(finished=False, stopped_early=None, kept_epoch=None, epochs_without_gain=0)
        self.save()

    def run(self, stop: Callable[[], bool], watch: Callable[[Moment], None]) -> Outcome:
        """Train to the end, or until `stop`; a state that was saved is complete when this returns or raises."""
        self._stop = stop
        stopped, after = False, None
        try:
            if self._saved_step is None:
                self._move(accuracy_before=self._judged())
                self.save()
            while not self.position.finished and not stopped:
                stopped = self._epoch(stop, watch)
            if self.position.finished:
                self._come_back_to_best()
            after = None if stopped else self._scores()
        except StopRequested:
            stopped = True
        self._session.check()
        return Outcome(
            self.position,
            stopped,
            after,
            self._session.sparsity,
            self._engine.zeros_kept(),
            self.timeline,
            saved=self._saved_step is not None,
        )

    def _keeping(self, action: Callable[[], _Found]) -> _Found:
        """What `action`, which changes nothing, gives; if it meets the end of the budget, what was trained is saved."""
        try:
            return action()
        except BudgetError:
            self.save()
            raise

    def _move(self, **changes: Any) -> None:
        self.position = replace(self.position, **changes)

    def _scores(self) -> tuple[float, ...] | None:
        return self._session.scores(self._batches, self._split.held_out, self._stop)

    def _judged(self) -> float | None:
        """The score that decides which epoch is the best."""
        scores = self._scores()
        return None if scores is None else scores[0]

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
            self._keeping(self._session.check)
            watch(self._moment(reached, loss))
            if batch + 1 < count:
                stopping = stop()
                if stopping or self.position.step % self._settings.save_every == 0:
                    self._refuse_ruined()
                    self.save()
                if stopping:
                    return True
        self._refuse_ruined()
        try:
            self._close_epoch()
        except StopRequested:  # the state says that the epoch's batches are done
            self.save()
            raise
        self._listener.epoch_done(self._ended(epoch, count))  # before the state that speaks of it
        self.save()
        return stop() and not self.position.finished

    def _refuse_ruined(self) -> None:
        """Raise InputError where the last step left a network that cannot answer; a later step's loss would say so too.

        The batch that was trained on is still in its buffer.
        """
        with memory_errors("checking the weights"):
            name = not_finite(self._engine.snapshot())
            answers = None if self._trained is None else self._engine.predict(self._trained)
        if name is not None or (answers is not None and rows_not_finite(answers)):
            what = f"{name} holds numbers that are" if name is not None else "the network's answers are"
            raise self._exploded(f"after step {self.position.step} {what} no longer finite")

    def _exploded(self, what: str) -> InputError:
        """The refusal of a run whose numbers are no longer finite."""
        left = f"the state in {self._state}, of step {self._saved_step}, is the last good one"
        return InputError(
            f"{what} ({named('learning_rate')} {self._settings.learning_rate:g}); {left}; begin again "
            f"with a smaller {named('learning_rate')} in another {named('state')}"
        )

    def _step(self, samples: np.ndarray, progress: float) -> float:
        settings, position = self._settings, self.position
        started = time.perf_counter()
        with memory_errors(f"step {position.step + 1}"):
            images, labels = self._read(samples)
            read = time.perf_counter()
            if self._forgetting is not None and position.epoch < settings.drop_after:
                self._forgetting.observe(samples, self._engine.predict(images).argmax(axis=1) == labels)
            rate = self._rate(position.epoch, progress)
            result = self._engine.train_step(images, labels, rate)
        if not math.isfinite(result.loss):
            raise self._exploded(f"the loss is no longer finite at step {position.step + 1}")
        self._trained = images
        self._move(
            epoch_loss=position.epoch_loss + result.loss * len(samples),
            epoch_correct=position.epoch_correct + (result.correct or 0),
            epoch_samples=position.epoch_samples + len(samples),
        )
        ended = time.perf_counter()
        resident = self._session.meter.resident
        self.timeline.add(position.step + 1, result.loss, (ended - read) * 1e3, (read - started) * 1e3, rate, resident)
        return result.loss

    def _rate(self, epoch: int, progress: float) -> float:
        settings = self._settings
        left = fallen(epoch, settings.milestones or milestones_of(settings.epochs), settings.gamma)
        return learning_rate(settings.schedule, settings.learning_rate, progress, settings.warmup, left)

    def _read(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A batch to train on; an image that cannot be read says how the run goes on without it."""
        try:
            return self._batches.read(samples, self.position.epoch)
        except InputError as error:
            raise InputError(
                f"{error}; then continue with {named('resume', True)}: {self._state} holds step {self._saved_step}"
            ) from None

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
        settings = self._settings
        score = self._keeping(self._judged) if settings.patience else None
        metric = self._session.task.metric
        self.position, gained = self.position.after_epoch(score, settings.epochs, settings.patience, metric)
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
        if self._samples is not None:
            self._samples.write(self._state)  # before the state that names them
        self._write(self._state)
        if self._samples is not None:
            self._samples.remove_others(self._state)
            self._samples = None
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

    def _ended(self, epoch: int, steps: int) -> EpochEnd:
        rate = self._rate(epoch, (epoch + (steps - 1) / steps) / self._settings.epochs)
        return EpochEnd(self.position, steps, rate, self._session.sparsity, self._session.meter.resident)

    def _moment(self, progress: float, loss: float) -> Moment:
        position = self.position
        left = self.timeline.seconds_left(progress)
        return Moment(position.step, position.epoch, progress, loss, left, self._session.meter.resident)
