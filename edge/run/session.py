"""An engine opened for an artifact within a budget: planned first, limited while it runs, measured throughout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.data.batches import Batches
from edge.engines.choice import choose
from edge.engines.engine import Engine
from edge.errors import BudgetError, ClosedError, InputError, StopRequested
from edge.handover.artifact import Artifact
from edge.handover.state import stored_tensors
from edge.host.counters import Meter, give_back_freed
from edge.host.limits import Enforcement, Guarantee, memory_errors
from edge.plan.choices import OptimizerChoice
from edge.plan.process import JUDGED_NUMBERS, DataNeeds
from edge.plan.search import Request
from edge.run.finite import refuse_not_finite
from edge.spelling import named
from edge.tasks.task import Task

WROTE_STATE = "it wrote the state"  # why an engine was taken where nobody could choose
HARNESS = "harness/"  # what the harness itself keeps in a state begins so


class Board:
    """The process seen from outside the network: its meter, and what it held before anything was loaded.

    `start_bytes` is None where no figure can be trusted: a plan then counts what it can, the network's own bytes.
    """

    def __init__(self) -> None:
        self.meter = Meter()
        self.start_bytes = self.meter.resident


class Session:
    """An open engine with its plan. Use as a context manager: leaving it closes the engine and lifts the limits."""

    def __init__(
        self,
        board: Board,
        artifact: Artifact,
        asked: str,
        request: Request,
        data: DataNeeds,
        budget_bytes: int | None,
    ) -> None:
        """Choose, plan, limit and open; a state brings its weights, its engine and the choices that they follow from.

        Raises BudgetError before anything is allocated if nothing fits.
        """
        if artifact.state is not None:
            facts = artifact.facts or {}
            request, asked = continued_request(facts, request), continued_engine(facts, asked, artifact.state)
        self.artifact = artifact
        self.meter = board.meter
        self.budget_bytes = budget_bytes
        self._enforcement: Enforcement | None = None
        self._engine: Engine | None = None
        try:
            self._open(asked, request, data, board.start_bytes)
            if artifact.state is not None:
                self.why = WROTE_STATE
                self.restore(artifact.state)
            else:
                self._loaded()
        except BaseException:
            self.close()
            raise

    def _open(self, asked: str, request: Request, data: DataNeeds, start_bytes: int | None) -> None:
        """Choose, plan, limit and open. When this returns, nothing but the engine holds what planning left."""
        chosen = choose(asked, self.artifact, request, data, self.budget_bytes, start_bytes)
        self.plan, self.why, self.freezes_norms = chosen.plan, chosen.why, chosen.candidate.freezes_norms
        self.meter.enter("load")
        limited = chosen.candidate.opens_limited
        if self.budget_bytes is not None:
            self._enforcement = Enforcement(self.budget_bytes, self.meter)
            if limited:
                self._enforcement.limit_private(self._untouched())
        with memory_errors("loading the network"):
            self._engine = chosen.opening.open()
        if self._enforcement is not None:
            self._enforcement.check()
            if not limited:
                self._enforcement.limit_private()

    @property
    def engine(self) -> Engine:
        """The open engine; raises ClosedError once the session is closed."""
        if self._engine is None:
            raise ClosedError
        return self._engine

    @property
    def guarantee(self) -> Guarantee:
        """Which limits hold."""
        if self._enforcement is None:
            return Guarantee((), "none: no budget was given", "unknown")
        return self._enforcement.guarantee()

    @property
    def baseline_bytes(self) -> int | None:
        """Resident bytes of interpreter and libraries; None where no figure can be trusted."""
        return self.plan.baseline_bytes if self.meter.reason is None else None

    @property
    def sparsity(self) -> float:
        """Zeros ÷ weights of the sparse layers as they were trained, channels that export removed included."""
        return self.artifact.sparsity(self.engine.sparsity())

    def check(self) -> None:
        """Raise BudgetError if more was ever resident than the budget allows."""
        if self._enforcement is not None:
            self._enforcement.check()

    @property
    def within_budget(self) -> bool | None:
        """True if the peak stayed within the budget without swap; None without a budget or a figure to trust."""
        peak = self.meter.peak
        if self.budget_bytes is None or peak is None:
            return None
        return peak <= self.budget_bytes and not self.meter.peak_swap

    def restore(self, state: Path, weights_alone: bool = False) -> dict:
        """Continue from a state's weights; returns the harness's own arrays of it.

        With `weights_alone` whatever optimizer and layers they were trained with: the optimizer begins anew.
        """
        with memory_errors("reading the state"):
            tensors = stored_tensors(state)
            take = self.engine.restore_weights if weights_alone else self.engine.restore
            take(tensors.without(HARNESS))
            kept = {name: tensors[name] for name in tensors if name.startswith(HARNESS)}
        self._loaded()
        return kept

    def _loaded(self) -> None:
        give_back_freed()
        if self._enforcement is not None:
            self._enforcement.settle()

    def _untouched(self) -> int:
        """Bytes that opening the engine reserves and the first step touches."""
        first_touched = ("gradients", "optimizer")
        items = self.plan.footprint.items
        return self.plan.footprint.arena.nbytes + sum(item.nbytes for item in items if item.kind in first_touched)

    @property
    def task(self) -> Task:
        """What the network is trained for."""
        return self.artifact.network.task

    def scores(
        self, batches: Batches, samples: np.ndarray, stop: Callable[[], bool] = lambda: False
    ) -> tuple[float, ...] | None:
        """The task's metrics over the samples, accuracy where they have classes; None for no samples.

        Raises StopRequested once `stop` is True, and InputError where the network's answers are not finite.
        """
        if not len(samples):
            return None
        counts: np.ndarray | float = 0.0
        self.meter.enter("evaluate")
        with memory_errors("evaluating"):
            for images, labels in batches.in_turn(samples):
                if stop():
                    raise StopRequested
                counts = counts + self._counts(self.answers(images), self.task.against(images, labels))
                self.check()
        assert isinstance(counts, np.ndarray)
        return self.task.values(counts)

    def _counts(self, answers: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """What the metrics follow from, a few answers at a time: little is held beside them."""
        size = max(1, JUDGED_NUMBERS * len(answers) // max(1, answers.size))
        parts = (slice(start, start + size) for start in range(0, len(answers), size))
        return np.sum([self.task.counts(answers[part], wanted[part]) for part in parts], axis=0)

    def answers(self, images: np.ndarray) -> np.ndarray:
        """Logits `(n, classes)`, or answers of the task's other shape; raises InputError if one is not finite."""
        logits = self.engine.predict(images)
        refuse_not_finite(logits, str(self.artifact.state or self.artifact.path))
        return logits

    def _lift(self) -> None:
        if self._enforcement is not None:
            self._enforcement.lift()

    def release(self) -> None:
        """Close the engine and hand its memory back, while the limits hold on: nothing is computed any more."""
        self.engine.close()
        give_back_freed()

    def close(self) -> None:
        """Close the engine and lift the limits; a second time does nothing."""
        self._lift()
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def continued_request(facts: Mapping[str, Any], request: Request) -> Request:
    """The request with those choices of a state that the shapes of its arrays follow from."""
    choices = facts["choices"]
    return replace(
        request,
        trainable=choices["trainable"],
        label_smoothing=choices["label_smoothing"],
        optimizer=OptimizerChoice(**choices["optimizer"]),
        densest_sparsity=request.densest_sparsity or choices["densest_sparsity"],
    )


def continued_engine(facts: Mapping[str, Any], asked: str, state: Path) -> str:
    """The engine that wrote a state; raises InputError if another one is asked for."""
    engine = str(facts["engine"])
    if asked not in ("auto", engine):
        raise InputError(
            f"{named('engine')} {asked}: the state {state} was written by engine {engine}; only that one reads it"
        )
    return engine


def open_for_inference(
    board: Board,
    artifact: Artifact,
    asked: str,
    budget_bytes: int | None,
    threads: int,
    data: DataNeeds,
    batch_size: int = 32,
) -> Session:
    """A session for predictions alone: the largest batch up to `batch_size` that fits. A state brings its weights."""
    request = Request(threads=threads, label_smoothing=artifact.manifest.label_smoothing, trains=False)
    last: BudgetError | None = None
    for size in _halves(batch_size):
        request = replace(request, batch_size=size, micro_batch=size)
        try:
            return Session(board, artifact, asked, request, data, budget_bytes)
        except BudgetError as error:
            last = error
    assert last is not None
    raise last


def _halves(size: int) -> Iterable[int]:
    while size > 1:
        yield size
        size //= 2
    yield 1
