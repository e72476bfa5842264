"""What an epoch measured, as JSON lines and as a table."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mest.durable import write_durably
from mest.tasks.task import Task


@dataclass(frozen=True)
class EpochRecord:
    """One epoch. Accuracies are fractions; validation is None where no images were held out.

    Of another task than classification, what is called accuracy here is the first of its metrics: `named` tells them
    apart.

    `weight_sparsity`: zeros ÷ weights over the sparse layers while the epoch trained. `churn`: weights that the epoch's
    mutation removed, ÷ weights kept before it. `samples`: training samples in use, after `samples_removed` went and
    `samples_restored` came back.
    """

    epoch: int
    lr: float
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    weight_sparsity: float
    at_target: bool
    pruned: int
    grown: int
    churn: float
    samples: int
    samples_removed: int
    samples_restored: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The record as plain values."""
        return asdict(self)

    def named(self, task: Task) -> dict[str, Any]:
        """The record as files for people hold it: scores of a task without classes are called metrics."""
        if task.of_classes:
            return self.as_dict()
        return {name.replace("accuracy", "metric"): value for name, value in self.as_dict().items()}


def finite(value: float) -> float | None:
    """Return the value, or None where it is infinite or no number, which JSON does not have."""
    return value if math.isfinite(value) else None


def named_scores(task: Task, values: Sequence[float]) -> dict[str, Any]:
    """The metrics of a task as JSON has them: the one that decides, its name, and all of them by name."""
    by_name = {metric.key: value for metric, value in zip(task.metrics, values, strict=True)}
    return {"task": task.name, "metric_name": task.metric.key, "metric": values[0], "metrics": by_name}


def write_metrics(folder: Path, history: Sequence[EpochRecord], task: Task, copy: Path | None = None) -> None:
    """Write metrics.jsonl (and the same to `copy`) and metrics.csv of all epochs so far; each file is always whole."""
    rows = [record.named(task) for record in history]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    for path in [folder / "metrics.jsonl", *([copy] if copy else [])]:
        write_durably(path, lambda file: file.write(lines.encode()))
    table = io.StringIO()
    names = [field.name for field in fields(EpochRecord)]
    names = names if task.of_classes else [name.replace("accuracy", "metric") for name in names]
    writer = csv.DictWriter(table, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_durably(folder / "metrics.csv", lambda file: file.write(table.getvalue().encode()))
