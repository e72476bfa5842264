"""What each engine makes of one batch: logits, loss, and every parameter after one step. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.engines.reference import Reference
from edge.network import Network
from edge.plan.choices import Choices, OptimizerChoice
from edge.weight.formats import decode
from edge.weight.parameter import Parameter
from export.ort.session import Session
from export.rebuild import from_native, from_ort

# The batch and PyTorch's answers that an artifact carries, so that the comparison can be repeated anywhere.
REFERENCE = "reference.npz"


@dataclass(frozen=True, eq=False)
class Batch:
    """The images and labels that every engine is given, and the learning rate of the step.

    Images float32 `(n, ...)` of the model's own dimensions; labels as the network's task has them.
    """

    images: np.ndarray
    labels: np.ndarray
    learning_rate: float

    def images_for(self, network: Network) -> np.ndarray:
        """The images as the native network takes them, float32 `(n, c, h, w)`."""
        return self.images.reshape(len(self.images), *network.input)

    def labels_for(self, network: Network) -> np.ndarray:
        """The labels as the native network takes them, `(n, ...)`."""
        return self.labels.reshape(len(self.labels), *network.task.target(network.output))


@dataclass(frozen=True, eq=False)
class Observed:
    """What one engine did. `logits` are its answers, `(n, numbers)`, whatever their shape.

    `updated` holds dense weights (a channel-sparse one as its stored, smaller self), `before` is the same before the
    step. `nonzero_outside` names the weights that the step made other than zero where nothing may be.
    """

    engine: str
    logits: np.ndarray
    loss: float
    before: dict[str, np.ndarray]
    updated: dict[str, np.ndarray]
    nonzero_outside: tuple[str, ...] = ()


def observe_ort(folder: Path, batch: Batch, network: Network, written: Mapping[str, Mapping[str, Any]]) -> Observed:
    """Run the onnxruntime-training artifacts of a folder; `written` is the manifest's `ort.parameters`."""
    session = Session(folder)
    _, logits = session.evaluate(batch.images, batch.labels)
    before = _weights(from_ort(network, written, session.parameters()))
    loss, _ = session.train_step(batch.images, batch.labels, batch.learning_rate)
    after = session.parameters()
    outside = []
    for name, names in written.items():
        values = after[names["values"]]
        if names["format"] == "masked":
            beyond = values[after[names["mask"]] == 0]
        else:
            beyond = values[int(after[names["row_starts"]][-1]) :] if "row_starts" in names else values[:0]
        outside.extend([name] if np.any(beyond) else [])
    return Observed(
        "ort",
        logits.reshape(len(logits), -1),
        loss,
        before,
        _weights(from_ort(network, written, after)),
        tuple(outside),
    )


def observe_reference(
    network: Network, batch: Batch, optimizer: OptimizerChoice, label_smoothing: float, dtype: type = np.float64
) -> Observed:
    """Run the plain numpy executor of the native network."""
    engine = Reference(network, choices_of(batch, optimizer, label_smoothing), dtype)
    images = batch.images_for(network)
    logits = engine.predict(images).reshape(len(images), -1)
    loss = engine.train_step(images, batch.labels_for(network), batch.learning_rate).loss
    updated = {
        name: engine.tensors[name][:, parameter.tensors["channels"]]
        if parameter.format == "channel"
        else engine.tensors[name]
        for name, parameter in network.parameters.items()
    }
    outside = tuple(name for name, mask in engine.masks.items() if np.any(engine.tensors[name][~mask]))
    return Observed("reference", logits, loss, _weights(network.parameters), updated, outside)


def observe_native(network: Network, batch: Batch, optimizer: OptimizerChoice, label_smoothing: float) -> Observed:
    """Run the native engine; its library must be available."""
    from edge.engines.native.engine import NativeEngine

    engine = NativeEngine.of(network, choices_of(batch, optimizer, label_smoothing))
    try:
        images = batch.images_for(network)
        logits = np.array(engine.predict(images)).reshape(len(images), -1)
        loss = engine.train_step(images, batch.labels_for(network), batch.learning_rate).loss
        updated = _weights(from_native(network, engine.snapshot()))
    finally:
        engine.close()
    return Observed("native", logits, loss, _weights(network.parameters), updated)


def native_missing() -> str | None:
    """Why the native engine cannot run here, or None if it can."""
    from edge.engines.native.engine import NativeEngine

    usable, reason = NativeEngine.available()
    return None if usable else reason


def choices_of(batch: Batch, optimizer: OptimizerChoice, label_smoothing: float) -> Choices:
    """One step over the whole batch."""
    count = len(batch.labels)
    return Choices(batch_size=count, micro_batch=count, optimizer=optimizer, label_smoothing=label_smoothing)


def _weights(parameters: Mapping[str, Parameter]) -> dict[str, np.ndarray]:
    """Parameters as `Observed.updated` holds them, in memory of their own."""
    return {
        name: np.array(parameter.values) if parameter.format == "channel" else decode(parameter)
        for name, parameter in parameters.items()
    }
