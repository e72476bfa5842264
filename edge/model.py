"""The small Python API: an artifact or a state, loaded under a budget, for one's own arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.artifact import open_artifact
from edge.budget import memory_errors, parse_size
from edge.engine import MutationResult, StepResult
from edge.errors import InputError
from edge.plan.choices import OptimizerChoice
from edge.plan.memory import DataNeeds, MemoryPlan
from edge.plan.search import Request
from edge.schedule import MUTATIONS, densest_sparsity, mutation_bounds
from edge.session import Board, Session
from edge.state import write_state


class Model:
    """A network that predicts and trains within its plan. A context manager; `close` gives memory and limits back."""

    def __init__(self, session: Session, mutate: str) -> None:
        self._session = session
        self._mutate = mutate
        self._steps = 0

    @property
    def plan(self) -> MemoryPlan:
        """What the process was going to hold, and the choices that make it so."""
        return self._session.plan

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return self._session.artifact.class_names

    @property
    def peak_bytes(self) -> int | None:
        """The most bytes that were ever resident in this process; None where the figure cannot be trusted."""
        return self._session.meter.peak

    @property
    def sparsity(self) -> float:
        """Zeros over weights of the sparse layers."""
        return self._session.sparsity

    @property
    def zeros_kept(self) -> bool:
        """True if every weight outside the mask is exactly zero."""
        return self._session.engine.zeros_kept()

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Logits `(n, classes)` of normalised float32 images `(n, c, h, w)`, any n."""
        with memory_errors("predicting"):
            logits = self._session.engine.predict(self._checked(images))
        self._session.check()
        return logits

    def train_step(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> StepResult:
        """One optimizer step over up to `plan.choices.batch_size` samples; BudgetError when the budget is hit."""
        images, labels = self._checked(images), np.asarray(labels, np.int64)
        most = self.plan.choices.batch_size
        if not 0 < len(images) <= most or labels.shape != images.shape[:1]:
            raise InputError(f"images {images.shape}, labels {labels.shape}: needed are 1 to {most} of both")
        if labels.min() < 0 or labels.max() >= len(self.class_names):
            raise InputError(f"labels {labels.min()} to {labels.max()}: allowed are 0 to {len(self.class_names) - 1}")
        with memory_errors(f"step {self._steps + 1}"):
            result = self._session.engine.train_step(images, labels, learning_rate)
        self._steps += 1
        self._session.check()
        return result

    def mutate(self, progress: float, seed: int = 0) -> MutationResult:
        """Prune and grow as the method given to `load` does at a progress from 0 to 1 of the run."""
        if self._mutate == "none":
            raise InputError("load the model with mutate='em' or mutate='ems', so that room for it is planned")
        targets = self._session.artifact.mutation_targets(self.plan.choices.trainable)
        bounds = mutation_bounds(self._mutate, targets, progress)
        with memory_errors("mutating"):
            result = self._session.engine.mutate(bounds.prune_to, bounds.grow_to, seed)
        self._session.check()
        return result

    def save(self, state: str | Path, facts: Mapping[str, Any] | None = None) -> None:
        """Write a state directory, durably and whole, that `load`, `mest predict` and `mest export` read."""
        artifact, plan = self._session.artifact, self.plan
        described = {
            **(facts or {}),
            "artifact": artifact.identity(),
            "engine": plan.engine,
            "choices": asdict(plan.choices),
            "class_names": list(artifact.class_names),
            "steps": self._steps,
        }
        with memory_errors("saving"):
            write_state(Path(state), described, self._session.engine.snapshot())

    def _checked(self, images: np.ndarray) -> np.ndarray:
        images = np.ascontiguousarray(images, np.float32)
        if images.shape[1:] != self._session.artifact.shape:
            raise InputError(
                f"images {images.shape}: needed is (n, {', '.join(map(str, self._session.artifact.shape))})"
            )
        return images

    def close(self) -> None:
        """Close the engine and lift the limits."""
        self._session.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load(
    path: str | Path,
    memory_budget: str | int | None = None,
    engine: str = "auto",
    request: Request | None = None,
    optimizer: OptimizerChoice | None = None,
    mutate: str = "none",
) -> Model:
    """An artifact, or a state with its weights, opened under a budget ("64MiB" or bytes) of the whole process.

    `request` pins parts of the plan; its optimizer and label smoothing are those of the artifact unless `optimizer` is
    given. Raises BudgetError if nothing fits, InputError or DamagedError for what cannot be opened.
    """
    if mutate not in MUTATIONS:
        raise InputError(f"mutate {mutate!r}: allowed are {', '.join(MUTATIONS)}")
    board = Board()
    artifact = open_artifact(Path(path))
    asked = replace(
        request or Request(),
        optimizer=optimizer or artifact.optimizer,
        label_smoothing=artifact.manifest.label_smoothing,
        densest_sparsity=densest_sparsity(mutate, artifact.mutation_targets()),
    )
    asked = replace(asked, last_batch=asked.last_batch or asked.batch_size - 1)  # steps may take any number
    budget = parse_size(memory_budget) if isinstance(memory_budget, str) else memory_budget
    data = DataNeeds(image_bytes=4 * int(np.prod(artifact.shape)))
    return Model(Session(board, artifact, engine, asked, data, budget), mutate)
