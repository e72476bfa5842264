"""The numpy referee as the judge of an artifact: it knows every operator of the native network and needs no torch."""

from __future__ import annotations

import numpy as np

from edge.engines.reference import Reference
from edge.engines.reference.operators import rule_of
from edge.network import Network
from edge.plan.choices import OptimizerChoice
from export.checks.agreement import Expected, floors, nudged, trusted
from export.checks.observe import Batch, Observed, choices_of, observe_reference


def refer(
    network: Network, batch: Batch, optimizer: OptimizerChoice, label_smoothing: float, nudges: int = 0
) -> Expected:
    """What one step of the referee makes of the batch in float64; for the floors also in float32, and of the batch
    nudged so often."""
    exact = observe_reference(network, batch, optimizer, label_smoothing)
    rounded = observe_reference(network, batch, optimizer, label_smoothing, np.float32)
    moved = (observe_reference(network, other, optimizer, label_smoothing) for other in nudged(batch, nudges))
    meant = _trusted(network, batch, optimizer, label_smoothing)
    return Expected(
        "the numpy referee",
        batch,
        exact.logits,
        exact.loss,
        exact.before,
        exact.updated,
        _biased(network, exact, len(batch.labels)),
        meant,
        floors(exact, rounded, moved, meant),
    )


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
    gradients = judge.accumulate(batch.images_for(network), batch.labels_for(network))[1]
    parameters = network.parameters
    return {
        name: trusted(
            gradient[:, parameters[name].tensors["channels"]] if parameters[name].format == "channel" else gradient
        )
        for name, gradient in gradients.items()
    }
