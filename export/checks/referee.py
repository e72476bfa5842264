"""The numpy referee as the judge of an artifact: it knows every operator of the native network and needs no torch."""

from __future__ import annotations

import numpy as np

from edge.engines.reference import Reference
from edge.engines.reference.operators import rule_of
from edge.network import Network
from edge.plan.choices import OptimizerChoice
from export.checks.agreement import Expected, trusted
from export.checks.observe import Batch, Observed, choices_of, observe_reference


def refer(network: Network, batch: Batch, optimizer: OptimizerChoice, label_smoothing: float) -> Expected:
    """What one step of the referee makes of the batch, in float64 and, for the floor, in float32."""
    exact = observe_reference(network, batch, optimizer, label_smoothing)
    return Expected(
        "the numpy referee",
        batch,
        exact.logits,
        exact.loss,
        exact.before,
        exact.updated,
        _biased(network, exact, len(batch.labels)),
        _trusted(network, batch, optimizer, label_smoothing),
        *_floors(exact, observe_reference(network, batch, optimizer, label_smoothing, np.float32)),
    )


def _floors(exact: Observed, rounded: Observed) -> tuple[dict[str, float], float, float]:
    """How far float32 is from float64: by parameter, in the logits, in the loss."""
    floor = {
        name: float(np.abs(rounded.updated[name].astype(np.float64) - value).max(initial=0.0))
        for name, value in exact.updated.items()
    }
    return floor, float(np.abs(rounded.logits - exact.logits).max()), abs(rounded.loss - exact.loss)


def _biased(network: Network, exact: Observed, images: int) -> dict[str, np.ndarray]:
    """The running variances as an engine moves them that divides by n, not by n - 1."""
    biased = {}
    for op in network.operators:
        names = op.parameters()
        before = {role: exact.before[name] for role, name in names.items()}
        after = {role: exact.updated[name] for role, name in names.items()}
        moved = rule_of(op).biased(op, images, before, after)
        biased.update({names[role]: value for role, value in moved.items()})
    return biased


def _trusted(
    network: Network, batch: Batch, optimizer: OptimizerChoice, label_smoothing: float
) -> dict[str, np.ndarray]:
    """Where AdamW's step is no rounding noise; nothing for other optimizers, whose steps are small there."""
    if optimizer.kind != "adamw":
        return {}
    judge = Reference(network, choices_of(batch, optimizer, label_smoothing))
    gradients = judge.accumulate(batch.images, batch.labels)[1]
    parameters = network.parameters
    return {
        name: trusted(
            gradient[:, parameters[name].tensors["channels"]] if parameters[name].format == "channel" else gradient
        )
        for name, gradient in gradients.items()
    }
