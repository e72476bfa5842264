"""An engine opened for an artifact within a budget: planned first, limited while it runs, measured throughout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.artifact import Artifact, open_artifact
from edge.batches import Batches
from edge.budget import Enforcement, Guarantee, memory_errors
from edge.engine import Engine
from edge.engines import choose
from edge.errors import BudgetError, InputError
from edge.memory import Meter, give_back_freed
from edge.plan.choices import OptimizerChoice
from edge.plan.memory import DataNeeds
from edge.plan.search import Request
from edge.state import read_facts, stored_tensors

STACK_ADDRESS_BYTES = 8 << 20  # address space that a thread's stack reserves
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
            facts = read_facts(artifact.state)
            request, asked = continued_request(facts, request), continued_engine(facts, asked, artifact.state)
        self.artifact = artifact
        self.meter = board.meter
        self.budget_bytes = budget_bytes
        candidate, self.plan, self.why = choose(asked, artifact, request, data, budget_bytes, board.start_bytes)
        if artifact.state is not None:
            self.why = WROTE_STATE
        self.meter.enter("load")
        self._enforcement: Enforcement | None = None
        try:
            if budget_bytes is not None:
                self._enforcement = Enforcement(budget_bytes, self.meter)
                if candidate.opens_limited:
                    self._enforcement.limit_private(STACK_ADDRESS_BYTES * self.plan.choices.threads, self._untouched())
            with memory_errors("loading the network"):
                self.engine: Engine = candidate.open(self.plan)
            if self._enforcement is not None:
                self._enforcement.check()
                if not candidate.opens_limited:
                    self._enforcement.limit_private()
            if artifact.state is not None:
                self.restore(artifact.state)
            else:
                self._loaded()
        except BaseException:
            self._lift()
            raise

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

    def restore(self, state: Path) -> dict:
        """Continue from a state's weights; returns the harness's own arrays of it."""
        with memory_errors("reading the state"):
            tensors = stored_tensors(state)
            self.engine.restore(tensors.without(HARNESS))
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

    def accuracy(self, batches: Batches, samples: np.ndarray) -> float | None:
        """Share of the samples that are classified correctly; None for no samples."""
        if not len(samples):
            return None
        correct = 0
        self.meter.enter("evaluate")
        with memory_errors("evaluating"):
            for images, labels in batches.in_turn(samples):
                correct += int((self.engine.predict(images).argmax(axis=1) == labels).sum())
                self.check()
        return correct / len(samples)

    def _lift(self) -> None:
        if self._enforcement is not None:
            self._enforcement.lift()

    def close(self) -> None:
        """Close the engine and lift the limits."""
        self._lift()
        self.engine.close()

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
        raise InputError(f"--engine {asked}: the state {state} was written by engine {engine}; only that one reads it")
    return engine


def open_for_inference(
    board: Board, path: Path, asked: str, budget_bytes: int | None, threads: int, data: DataNeeds, batch_size: int = 32
) -> Session:
    """A session for predictions alone: the largest batch up to `batch_size` that fits. A state brings its weights."""
    artifact = open_artifact(path)
    request = Request(threads=threads, label_smoothing=artifact.manifest.label_smoothing)
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
