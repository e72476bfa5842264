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


@dataclass(frozen=True)
class EpochRecord:
    """One epoch. Accuracies are fractions; validation is None where no images were held out.

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


def finite(value: float) -> float | None:
    """Return the value, or None where it is infinite or no number, which JSON does not have."""
    return value if math.isfinite(value) else None


def write_metrics(folder: Path, history: Sequence[EpochRecord], copy: Path | None = None) -> None:
    """Write metrics.jsonl (and the same to `copy`) and metrics.csv of all epochs so far; each file is always whole."""
    lines = "".join(json.dumps(record.as_dict()) + "\n" for record in history)
    for path in [folder / "metrics.jsonl", *([copy] if copy else [])]:
        write_durably(path, lambda file: file.write(lines.encode()))
    table = io.StringIO()
    writer = csv.DictWriter(table, [field.name for field in fields(EpochRecord)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(record.as_dict() for record in history)
    write_durably(folder / "metrics.csv", lambda file: file.write(table.getvalue().encode()))
