"""One step of the native engine against the numpy reference in float64."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge.engines.native.engine import NativeEngine
from edge.engines.reference import Reference
from edge.network import Network
from edge.plan.choices import Choices
from edge.weight.formats import kept_mask, positions
from edge.weight.parameter import Parameter


def batch(network: Network, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random images and labels, or what the network's task has in their place."""
    random = np.random.default_rng(seed)
    images = random.normal(size=(count, *network.input)).astype(np.float32)
    if network.task.of_classes:
        return images, random.integers(0, network.classes, count)
    return images, network.task.noise(count, network.output, random)


def dense_values(parameter: Parameter, values: np.ndarray) -> np.ndarray:
    """Values in the engine's order as the dense weight."""
    dense = np.zeros(parameter.size, np.float32)
    if not parameter.sparse:
        dense[:] = values
    elif parameter.format == "masked":
        dense[kept_mask(parameter).reshape(-1)] = values
    else:
        dense[positions(parameter)] = values
    return dense.reshape(parameter.shape)


def engine_tensors(network: Network, snapshot: Mapping[str, np.ndarray], part: str = "values") -> dict[str, np.ndarray]:
    """A snapshot's values (or gradients) as dense tensors, by parameter; for masks that did not change."""
    return {
        name: dense_values(parameter, snapshot[f"{name}/{part}"])
        for name, parameter in network.parameters.items()
        if f"{name}/{part}" in snapshot
    }


def assert_close(ours: Mapping[str, np.ndarray], true: Mapping[str, np.ndarray], tolerance: float) -> None:
    """Every tensor within `tolerance` of its largest entry, or of a share of the largest of all where it cancels.

    Each instruction set adds in another order: a sum that cancels keeps the rounding of what it was made of.
    """
    largest = max((float(np.abs(true[name]).max(initial=0)) for name in ours), default=0.0)
    for name, value in ours.items():
        scale = max(float(np.abs(true[name]).max(initial=0)), 0.1 * largest, 2e-2)
        error = float(np.abs(value - true[name]).max(initial=0))
        assert error <= tolerance * scale, f"{name}: error {error:.3g} of {scale:.3g}"


def assert_step(
    network: Network,
    choices: Choices,
    count: int | None = None,
    instruction_set: str = "",
    seed: int = 0,
    tolerance: float = 3e-5,
    steps: int = 1,
) -> None:
    """Loss, gradients, updated weights, statistics and evaluation-mode logits agree with the reference."""
    images, labels = batch(network, count or choices.batch_size, seed)
    reference = Reference(network, choices)
    engine = NativeEngine.of(network, choices, instruction_set)
    try:
        for _ in range(steps):
            _, gradients = Reference.accumulate(_copy(reference), images, labels)
            expected = reference.train_step(images, labels, 0.05)
            result = engine.train_step(images, labels, 0.05)
            assert abs(result.loss - expected.loss) <= 1e-5 * max(1.0, abs(expected.loss))
            assert result.correct == expected.correct
        snapshot = engine.snapshot()
        assert_close(engine_tensors(network, snapshot, "gradient"), gradients, tolerance)
        assert_close(engine_tensors(network, snapshot), reference.tensors, tolerance)
        assert_close({"logits": engine.predict(images)}, {"logits": reference.predict(images)}, tolerance)
        assert engine.zeros_kept()
    finally:
        engine.close()


def _copy(reference: Reference) -> Reference:
    """The reference as it is now, so that gradients can be asked for without moving its statistics."""
    copied = Reference(reference.network, reference.choices)
    copied.tensors = {name: tensor.copy() for name, tensor in reference.tensors.items()}
    return copied
