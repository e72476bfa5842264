"""What each engine makes of one batch: logits, loss, and every parameter after one step. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge.formats import decode, kept_mask
from edge.parameter import Parameter
from export.ort.represent import Represented
from export.ort.session import Session


@dataclass(frozen=True, eq=False)
class Batch:
    """The images and labels that every engine is given, and the learning rate of the step."""

    images: np.ndarray
    labels: np.ndarray
    learning_rate: float


@dataclass(frozen=True, eq=False)
class Observed:
    """What one engine did. `updated` holds dense weights (a channel-sparse one as its stored, smaller self).

    `nonzero_outside` names the weights that a step made other than zero where nothing may be.
    """

    engine: str
    logits: np.ndarray
    loss: float
    updated: dict[str, np.ndarray]
    nonzero_outside: tuple[str, ...] = ()


def observe_ort(
    folder: Path, batch: Batch, compressed: Mapping[str, Parameter], represented: Mapping[str, Represented]
) -> Observed:
    """Run the onnxruntime-training artifacts of a folder."""
    session = Session(folder)
    _, logits = session.evaluate(batch.images, batch.labels)
    loss, _ = session.train_step(batch.images, batch.labels, batch.learning_rate)
    hidden = {part for written in represented.values() for part in (written.values, *written.tensors.values())}
    updated = {name: session.parameter(name) for name in session.names if name not in hidden}
    outside = []
    for name, written in represented.items():
        parameter, values = compressed[name], session.parameter(written.values)
        used = len(parameter.values)
        if parameter.format == "channel":
            updated[name] = values
            continue
        if parameter.format == "masked":
            beyond = values[~kept_mask(parameter)]
        else:
            beyond = values[used:]
        if np.any(beyond):
            outside.append(name)
        updated[name] = decode(replace(parameter, tensors={**parameter.tensors, "values": values[:used]}))
    return Observed("ort", logits, loss, updated, tuple(outside))


def dense_weight(parameter: Parameter) -> np.ndarray:
    """A parameter as `Observed.updated` holds it."""
    return parameter.values if parameter.format == "channel" else decode(parameter)
