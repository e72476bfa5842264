"""An engine that is asked what it can do before it is there, and what both engines answer alike."""

from __future__ import annotations

from typing import Protocol

from edge.engines.engine import Engine
from edge.errors import InputError
from edge.handover.artifact import Artifact
from edge.network import select_trainable
from edge.plan.choices import Choices
from edge.plan.footprint import Footprint
from edge.plan.norms import lone_norms
from edge.plan.process import PYTHON
from edge.plan.search import Planned
from edge.spelling import named


class Opening(Protocol):
    """An engine that was planned for certain choices, with all that planning found out: opening plans nothing again."""

    @property
    def footprint(self) -> Footprint:
        """All memory above the baseline."""

    def uses(self) -> tuple[tuple[int, ...], ...]:
        """The steps that touch each buffer of the footprint, ascending; empty where the engine does not say."""

    def open(self) -> Engine:
        """The engine, ready for its first step."""


class Candidate(Planned[Opening], Protocol):
    """An engine that the planner can ask, and whose plans can be opened."""

    opens_limited: bool  # True if all private memory that opening takes is planned, so that the limit can hold already


class Asked:
    """What both engines answer alike, from the network and the baseline."""

    surroundings = PYTHON

    def __init__(self, artifact: Artifact, baseline_bytes: int, held_bytes: int) -> None:
        self.artifact = artifact
        self.network = artifact.network
        self.baseline_bytes = baseline_bytes
        self.held_bytes = held_bytes
        self.has_batch_norm = any(operator.uses_batch() for operator in self.network.operators)
        able = {name for name, parameter in self.network.parameters.items() if parameter.trainable}
        self.weight_layers = sum(operator.layer_weight in able for operator in self.network.layers())

    def lone_norms(self, choices: Choices) -> tuple[str, ...]:
        """Batch norms that would see one value a channel in a piece of these choices."""
        return lone_norms(self.network, choices)

    def trained(self, trainable: str) -> set[str]:
        """Names of the parameters that are trained; none where `trainable` does not mean any."""
        try:
            return select_trainable(self.network, trainable)
        except InputError:
            return set()

    def refuses(self, choices: Choices) -> str | None:
        """Why the engine cannot make these choices, or None if it can."""
        task = self.network.task
        if choices.label_smoothing and not task.of_classes:
            return (
                f"{named('label_smoothing')} {choices.label_smoothing:g}: is of classification, and the task is "
                f"{task.name}; leave it out"
            )
        for name in choices.densest_sparsity:
            parameter = self.network.parameters[name]
            loose = parameter.format == "masked" and parameter.scheme != "irregular"
            if parameter.format == "dense" or loose:
                return f"{name} is stored {parameter.format}, which cannot mutate; export with {named('format')} auto"
        try:
            select_trainable(self.network, choices.trainable)
        except InputError as error:
            return str(error)
        return None
