"""What is exported: a trained model with its masks and what a board must know about its data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.plan.choices import OptimizerChoice
from edge.tasks.registry import CLASSIFICATION, TASKS
from edge.tasks.task import Task
from edge.weight.parameter import SCHEMES
from export.sparse_layer import SparseLayer
from mest.train.run import load_run

BOARD_SCORES, BOARD_GROWTH = ("magnitude", "magnitude+gradient"), "random"

if TYPE_CHECKING:  # a source holds a live model; what runs it is in capture and verify
    from torch import nn


@dataclass(frozen=True, eq=False)
class Source:
    """A model with its sparse layers by weight name; `run` says where it came from, `optimizer` how it was trained.

    `input`: (channels, height, width), (channels, length) or (features,).

    `notes` say what of its training a board does otherwise.
    """

    model: nn.Module
    layers: dict[str, SparseLayer]
    input: tuple[int, ...]
    class_names: tuple[str, ...]
    preprocess: dict[str, Any]
    optimizer: OptimizerChoice = field(default_factory=OptimizerChoice)
    label_smoothing: float = 0.0
    run: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    task: Task = CLASSIFICATION


def source_of_run(path: str | Path, which: str = "best") -> Source:
    """The model of a run directory. Raises InputError if it is none, DamagedError if a part of it is damaged."""
    run = load_run(path, which)
    layers = {
        layer["name"]: sparse_layer(
            layer["name"],
            layer["scheme"],
            layer.get("height"),
            float(layer["target_sparsity"]),
            run.masks[layer["name"]].cpu().numpy(),
        )
        for layer in run.layers
    }
    trained = run.config["optimizer"]
    adamw = trained["kind"] in ("adam", "adamw")
    optimizer = OptimizerChoice(
        kind="adamw" if adamw else "sgd",
        momentum=float(trained["momentum"]),
        nesterov=bool(trained["nesterov"]) and not adamw,
        weight_decay=float(trained["weight_decay"]),
    )
    return Source(
        model=run.model,
        layers=layers,
        input=run.spec.input,
        class_names=tuple(run.class_names),
        preprocess=run.preprocess,
        optimizer=optimizer,
        label_smoothing=float(trained["label_smoothing"]),
        notes=rule_notes(run.config["sparse"]["score"], run.config["sparse"]["growth"]),
        run={
            "path": str(run.path.resolve()),
            "checkpoint": run.which,
            "epoch": run.epoch,
            "model": run.spec.as_dict(),
            "data_checksum": run.checksum,
        },
        task=TASKS[run.spec.task.name],
    )


def rule_notes(score: str | None, growth: str | None) -> tuple[str, ...]:
    """What a board's mutation does otherwise than these rules, by name (None: what the method prescribes)."""
    odd = [f"score {score}"] if score is not None and score.partition(":")[0] not in BOARD_SCORES else []
    odd += [f"growth {growth}"] if growth not in (None, BOARD_GROWTH) else []
    if not odd:
        return ()
    return (
        f"{' and '.join(odd)} stay on the workstation: a board that mutates removes by magnitude and grows at random",
    )


def sparse_layer(name: str, scheme: str, height: int | None, target_sparsity: float, mask: np.ndarray) -> SparseLayer:
    """A sparse layer in a shape that the formats know; zeros of a scheme of one's own may lie anywhere."""
    known = scheme if scheme in SCHEMES else "irregular"
    own = None if scheme in SCHEMES else scheme
    return SparseLayer(name, known, height if known == "block" else None, target_sparsity, mask.astype(bool), own)
