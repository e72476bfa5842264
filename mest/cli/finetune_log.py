"""What a log is told of a fine-tuning: its epochs as they end, then its result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.run.listener import EpochEnd, Listener
from mest.errors import InputError
from mest.log import Log, LogSpec, open_log, parse_log


def log_asked(given: str) -> LogSpec:
    """What `--log` asks for, its package imported; raises InputError with what is allowed or what is missing."""
    try:
        return parse_log(given)
    except ValueError as refused:
        raise InputError(f"--log {given}: {refused}") from refused


class FinetuneLog(Listener):
    """Opens the log when a run begins and tells it of every epoch; names are those of `mest train`."""

    def __init__(self, spec: LogSpec, state: Path, options: Mapping[str, Any]) -> None:
        """`options` are what wandb shows as the run's config."""
        self._spec, self._state, self._options = spec, state, options
        self._log: Log = open_log(LogSpec(), state, options)

    def begin(self) -> None:
        self._log = open_log(self._spec, self._state, self._options)

    def epoch_done(self, end: EpochEnd) -> None:
        epoch, position = end.position.epochs[-1], end.position
        name = "metric" if epoch["train_accuracy"] is None else "accuracy"
        moved = [event for event in position.mutations if event["step"] > position.step - end.steps]
        values = {
            "loss/train": epoch["loss"],
            "accuracy/train": epoch["train_accuracy"],
            f"{name}/held_out": epoch["accuracy"],
            "learning_rate": end.learning_rate,
            "sparsity": end.weight_sparsity,
            "memory/resident_bytes": end.resident_bytes,
        }
        if moved:
            values |= {f"mutation/{what}": sum(event[what] for event in moved) for what in ("removed", "grown")}
        self._tell(epoch["epoch"] - 1, values)

    def result(self, result: Mapping[str, Any]) -> None:
        """The object that the command prints of a run that ended."""
        name = "metric" if "task" in result else "accuracy"
        values = {f"{name}/{when}": result[f"{name}_{when}"] for when in ("before", "after")}
        values |= {f"memory/{what}": result[what] for what in ("planned_peak_bytes", "measured_peak_bytes")}
        self._tell(result["epochs"], values)

    def close(self) -> None:
        """Say that nothing more comes."""
        self._log.close()

    def _tell(self, step: int, values: Mapping[str, Any]) -> None:
        self._log.scalars(step, {name: float(value) for name, value in values.items() if value is not None})
