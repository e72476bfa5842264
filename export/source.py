"""What is exported: a trained model with its masks and what a board must know about its data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.parameter import SCHEMES
from edge.plan.choices import OptimizerChoice
from export.sparse_layer import SparseLayer
from mest.train.run import load_run

if TYPE_CHECKING:  # a source holds a live model; what runs it is in capture and verify
    from torch import nn


@dataclass(frozen=True, eq=False)
class Source:
    """A model with its sparse layers by weight name; `run` says where it came from, `optimizer` how it was trained."""

    model: nn.Module
    layers: dict[str, SparseLayer]
    input: tuple[int, int, int]
    class_names: tuple[str, ...]
    preprocess: dict[str, Any]
    optimizer: OptimizerChoice = field(default_factory=OptimizerChoice)
    label_smoothing: float = 0.0
    run: dict[str, Any] = field(default_factory=dict)


def source_of_run(path: str | Path, which: str = "best") -> Source:
    """The model of a run directory. Raises InputError if it is none, DamagedError if a part of it is damaged."""
    run = load_run(path, which)
    layers = {
        layer["name"]: SparseLayer(
            name=layer["name"],
            scheme=_form(layer["scheme"]),
            height=layer.get("height"),
            target_sparsity=float(layer["target_sparsity"]),
            mask=run.masks[layer["name"]].cpu().numpy().astype(bool),
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
        run={
            "path": str(run.path.resolve()),
            "checkpoint": run.which,
            "epoch": run.epoch,
            "model": run.spec.as_dict(),
            "data_checksum": run.checksum,
        },
    )


def _form(scheme: str) -> str:
    """The shape that the formats know; zeros of a scheme of one's own may lie anywhere."""
    name = scheme.partition(":")[0]
    return name if name in SCHEMES else "irregular"
