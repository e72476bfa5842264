"""What a log is told of an epoch and of a finished run, by the names that viewers show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mest.sparse.mutation import Mutation
from mest.sparse.sparsifier import LayerState
from mest.tasks.task import Task
from mest.train.metrics import EpochRecord, finite

_COUNTED = {"VmRSS": "memory/resident_bytes", "VmHWM": "memory/peak_resident_bytes"}


def epoch_values(
    record: EpochRecord, task: Task, layers: Sequence[LayerState], mutation: Mutation | None
) -> dict[str, float]:
    """Numbers of an epoch by name: losses, the deciding metric, the rate, sparsities while it trained, its mutation.

    `layers` are as they were while the epoch trained; the mutation, where one was due, is the one that it began with.
    """
    key = task.metric.key
    values = {
        "loss/train": finite(record.train_loss),
        "loss/validation": record.validation_loss,
        f"{key}/train": record.train_accuracy,
        f"{key}/validation": record.validation_accuracy,
        "learning_rate": record.lr,
        "samples": float(record.samples),
        "sparsity": record.weight_sparsity,
        **{f"sparsity/{layer.name}": layer.sparsity for layer in layers},
    }
    if mutation is not None:
        values |= {
            "mutation/removed": float(record.pruned),
            "mutation/grown": float(record.grown),
            "mutation/churn": mutation.churn,
            **{f"churn/{name}": layer.churn for name, layer in mutation.layers.items()},
        }
    return {name: value for name, value in values.items() if value is not None}


def memory_values(device: torch.device) -> dict[str, float]:
    """Bytes that this process holds and held at its peak, and the peak of tensors on a GPU; what is not counted lacks.

    Source: /proc/self/status, which Linux has.
    """
    values: dict[str, float] = {}
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.is_file() else ():
        name, _, rest = line.partition(":")
        if name in _COUNTED:
            values[_COUNTED[name]] = 1024.0 * int(rest.split()[0])
    if device.type == "cuda":
        values["memory/cuda_peak_bytes"] = float(torch.cuda.max_memory_allocated(device))
    return values


def result_values(summary: dict[str, Any], task: Task) -> dict[str, float]:
    """Numbers of a finished run by name: the test's scores with the best weights, its method's planned peak."""
    scores = summary.get("metrics") or {task.metric.key: summary["accuracy"]}
    values = {
        **{f"{name}/test": value for name, value in scores.items()},
        "loss/test": summary["loss"],
        "memory/planned_peak_bytes": summary["peak_bytes"].get(summary["method"]),
        "training_flops/share_of_dense": summary["training_flops"]["share"],
    }
    return {name: float(value) for name, value in values.items() if value is not None}
