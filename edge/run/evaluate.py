"""Accuracy of an artifact or a state on labelled data, or the metrics of another task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.data.batches import Batches
from edge.data.open import open_source
from edge.handover.artifact import open_artifact
from edge.run.measured import Measured, measured
from edge.run.needs import data_needs
from edge.run.session import Board, open_for_inference
from edge.tasks.task import Task, named_scores


@dataclass(frozen=True, kw_only=True)
class EvaluateResult(Measured):
    """The task's metrics over the samples, with the memory that it took."""

    task: Task
    scores: tuple[float, ...]
    samples: int
    images: int  # the same, by the name that a run's evaluation has for it
    skipped: int

    @property
    def accuracy(self) -> float:
        """The metric that decides: the share of the samples answered correctly, where they have classes."""
        return self.scores[0]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: accuracy, or the metrics of another task by its name."""
        facts = {name: value for name, value in vars(self).items() if name not in ("task", "scores")}
        if self.task.of_classes:
            return {"accuracy": self.scores[0], **facts}
        return {**named_scores(self.task, self.scores), **facts}


def evaluate(
    path: Path,
    data: str,
    engine: str = "auto",
    budget_bytes: int | None = None,
    threads: int = 1,
    spool: Path | None = None,
    unreadable: str = "refuse",
    say: Callable[[str], None] = lambda message: None,
) -> EvaluateResult:
    """The task's metrics over all samples, or those that an npz file marks as `test` or a folder has in `test/`.

    Images that cannot be read are refused or, with `unreadable` "skip", left out and counted.
    """
    board = Board()
    artifact = open_artifact(path)
    network = artifact.network
    source = open_source(
        data, artifact.class_names, spool, artifact.preprocess, unreadable, task=network.task, output=network.output
    )
    needs = data_needs(artifact, len(source.labels), source.decoder_bytes)
    try:
        for note in (*source.notes, *artifact.sizes_note(source.one_size)):
            say(note)
        with open_for_inference(board, artifact, engine, budget_bytes, threads, needs) as session:
            size = session.plan.choices.batch_size
            shape, preprocess = session.artifact.shape, session.artifact.preprocess
            batches = Batches(source, preprocess, shape, size, output=network.output)
            indices = source.test_indices
            if indices is None:
                indices = np.arange(len(source.labels), dtype=np.int32)
            return EvaluateResult(
                task=network.task,
                scores=session.scores(batches, indices) or (0.0,) * len(network.task.metrics),
                samples=len(indices),
                images=len(indices),
                skipped=source.skipped,
                **measured(session),
            )
    finally:
        source.close()
