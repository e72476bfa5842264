"""Weights as a state directory that any command takes, and back: what a client trains from and what a run leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edge.engines.native.engine import STEPS
from edge.errors import InputError
from edge.handover.artifact import Artifact, open_artifact
from edge.handover.state import read_state, write_state
from edge.network import select_trainable
from edge.plan.choices import Choices
from edge.weight.formats import positions
from edge.weight.formats.csr import absolute_columns
from edge.weight.parameter import Parameter
from export.flower.layout import ENGINE, Layout, Weights, weights_of
from export.rebuild import from_native


def write_weights(
    folder: Path,
    artifact: Artifact,
    layout: Layout,
    weights: Weights,
    facts: Mapping[str, Any] | None = None,
    artifact_path: str | None = None,
    alone: bool = False,
) -> int:
    """Write weights as a state that every command reads; the number of its generation. `facts` are kept beside.

    Gradients and optimizer state are zero, as a run begins with them; with `alone` they are left out, which a new run
    that does not keep them (`--optimizer-state fresh`) does not miss.
    `artifact_path` is where the artifact lies for whoever reads it; where it lies here if it is not given.
    """
    tensors: dict[str, np.ndarray] = {STEPS: np.zeros(1, np.int64)}
    trained = () if alone else select_trainable(artifact.network, "all")
    for name, parameter in layout.encoded(weights).items():
        parts = _parts(parameter)
        if name in trained:
            kept = ("gradient", *(f"state{number}" for number in range(artifact.optimizer.state_per_weight)))
            parts |= dict.fromkeys(kept, np.zeros(parts["values"].size, np.float32))
        tensors |= {f"{name}/{part}": array for part, array in parts.items()}
    choices = Choices(optimizer=artifact.optimizer, label_smoothing=artifact.manifest.label_smoothing)
    described = {
        **(facts or {}),
        "artifact": {**artifact.identity(ENGINE), **({} if artifact_path is None else {"path": artifact_path})},
        "engine": ENGINE,
        "choices": asdict(choices),
        "class_names": list(artifact.class_names),
    }
    return write_state(folder, described, tensors)


def read_weights(
    folder: Path, layout: Layout, artifact: Artifact | None = None
) -> tuple[Weights, dict[str, np.ndarray]]:
    """The weights of a state, and all arrays of it by the names that the engine gives them.

    Without `artifact` the one that the state names is read.

    Raises InputError for a state of another engine, DamagedError for one that does not fit the artifact.
    """
    artifact, saved = artifact or open_artifact(folder), read_state(folder)
    if saved.facts["engine"] != ENGINE:
        raise InputError(f"{folder}: was written by engine {saved.facts['engine']}; only {ENGINE} takes part in rounds")
    return weights_of(layout, from_native(artifact.network, saved.tensors)), saved.tensors


def _parts(parameter: Parameter) -> dict[str, np.ndarray]:
    """A parameter as the native engine writes it into a state."""
    values = parameter.values.reshape(-1)
    if parameter.format == "dense":
        return {"values": values}
    index = np.uint16 if parameter.columns <= 1 << 16 else np.uint32
    if parameter.format == "channel":
        return {"values": values, "channels": parameter.tensors["channels"].astype(np.int32)}
    if parameter.format in ("csr", "masked"):
        kept = positions(parameter)
        if parameter.format == "masked":
            values, columns = values[kept], kept % parameter.columns
            counts = np.bincount((kept // parameter.columns).astype(np.intp), minlength=parameter.rows)
            starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint32)
        else:
            columns, starts = absolute_columns(parameter), parameter.tensors["row_starts"]
        return {"values": values, "row_starts": starts, "columns": columns.astype(index)}
    lists = {
        name: tensor.astype(np.uint8 if name == "patterns" else index)
        for name, tensor in parameter.tensors.items()
        if name not in ("values", "row_starts")
    }
    return {"values": values, "row_starts": parameter.tensors["row_starts"], **lists}
