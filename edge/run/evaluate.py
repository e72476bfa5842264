"""Accuracy of an artifact or a state on labelled data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.data.batches import Batches
from edge.data.open import open_source
from edge.handover.artifact import open_artifact
from edge.plan.process import DataNeeds
from edge.run.measured import Measured, measured
from edge.run.session import Board, open_for_inference


@dataclass(frozen=True, kw_only=True)
class EvaluateResult(Measured):
    """Share of the samples classified correctly, with the memory that it took."""

    accuracy: float
    samples: int
    images: int  # the same, by the name that a run's evaluation has for it
    skipped: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


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
    """Accuracy over all samples of the data, or those that an npz file marks as `test` or a folder has in `test/`.

    Images that cannot be read are refused or, with `unreadable` "skip", left out and counted.
    """
    board = Board()
    artifact = open_artifact(path)
    source = open_source(data, artifact.class_names, spool, artifact.preprocess, unreadable)
    needs = DataNeeds(len(source.labels), source.decoder_bytes, 4 * int(np.prod(artifact.shape)))
    try:
        for note in (*source.notes, *artifact.sizes_note(source.one_size)):
            say(note)
        with open_for_inference(board, artifact, engine, budget_bytes, threads, needs) as session:
            size = session.plan.choices.batch_size
            batches = Batches(source, session.artifact.preprocess, session.artifact.shape, size)
            indices = source.test_indices
            if indices is None:
                indices = np.arange(len(source.labels), dtype=np.int32)
            accuracy = session.accuracy(batches, indices)
            return EvaluateResult(
                accuracy=accuracy or 0.0,
                samples=len(indices),
                images=len(indices),
                skipped=source.skipped,
                **measured(session),
            )
    finally:
        source.close()
