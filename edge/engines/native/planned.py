"""The native engine as the planner asks it, and as it is opened once it was planned."""

from __future__ import annotations

from dataclasses import dataclass

from edge.engines.asked import Asked
from edge.engines.engine import Engine
from edge.engines.native.blueprint import Blueprint, draw
from edge.engines.native.engine import NativeEngine
from edge.plan.choices import Choices
from edge.plan.footprint import Footprint


@dataclass(frozen=True)
class NativeOpening:
    """A blueprint, ready to be built."""

    blueprint: Blueprint

    @property
    def footprint(self) -> Footprint:
        """All memory above the baseline."""
        return self.blueprint.footprint

    def uses(self) -> tuple[tuple[int, ...], ...]:
        """The steps that touch each buffer of the footprint, ascending."""
        blueprint = self.blueprint
        return blueprint.training[blueprint.model.choices.micro_batch].listing.uses()

    def open(self) -> Engine:
        """The engine with its arena allocated; hands the mapped file back."""
        engine: Engine = NativeEngine(self.blueprint)
        self.blueprint.model.network.release()
        return engine


class NativePlanned(Asked):
    """Our own sparse kernels."""

    name = "native"
    opens_limited = True
    freezes_norms = True
    saves_narrow = True

    def prepare(self, choices: Choices) -> NativeOpening:
        """All that the engine will hold for these choices, listed and placed; allocates nothing."""
        return NativeOpening(draw(self.network, choices))

    def evaluation_bytes(self, choices: Choices) -> int:
        """Evaluation runs in the arena of training."""
        return 0

    def time_cost(self, choices: Choices) -> float:
        """Small pieces use the vectors less well; recomputation repeats part of the forward pass, and
        narrowing passes over its tensors once more."""
        again = {"none": 0.0, "activations": 0.08, "blocks": 0.25}[choices.recompute]
        again += {"float32": 0.0, "bfloat16": 0.07, "int8": 0.12}[choices.saved]
        return (1 + again) * (1 + 1.2 * choices.micro_batch**-1.4)
