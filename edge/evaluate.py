"""Accuracy of an artifact or a state on labelled data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.artifact import open_artifact
from edge.batches import Batches
from edge.data import open_source
from edge.plan.memory import DataNeeds
from edge.session import Board, open_for_inference


@dataclass(frozen=True)
class EvaluateResult:
    """Share of the samples classified correctly, with the memory that it took."""

    accuracy: float
    samples: int
    engine: str
    engine_reason: str
    budget_bytes: int | None
    planned_peak_bytes: int
    measured_peak_bytes: int | None
    baseline_bytes: int | None

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
) -> EvaluateResult:
    """Accuracy over all samples of the data, or those that an npz file marks as `test`."""
    board = Board()
    artifact = open_artifact(path)
    source = open_source(data, artifact.class_names, spool)
    needs = DataNeeds(len(source.labels), source.decoder_bytes, 4 * int(np.prod(artifact.shape)))
    try:
        with open_for_inference(board, path, engine, budget_bytes, threads, needs) as session:
            size = session.plan.choices.batch_size
            batches = Batches(source, session.artifact.preprocess, session.artifact.shape, size)
            indices = source.test_indices
            if indices is None:
                indices = np.arange(len(source.labels), dtype=np.int32)
            accuracy = session.accuracy(batches, indices)
            return EvaluateResult(
                accuracy=accuracy or 0.0,
                samples=len(indices),
                engine=session.plan.engine,
                engine_reason=session.why,
                budget_bytes=budget_bytes,
                planned_peak_bytes=session.plan.peak_bytes,
                measured_peak_bytes=session.meter.peak,
                baseline_bytes=session.baseline_bytes,
            )
    finally:
        source.close()
