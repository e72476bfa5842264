"""onnxruntime-training as the planner asks it, and as it is opened once it was planned."""

from __future__ import annotations

from dataclasses import dataclass

from edge.engines.asked import Asked
from edge.engines.engine import Engine
from edge.engines.ort.footprint import densest_units, estimate, evaluation_bytes
from edge.handover.artifact import Artifact
from edge.plan.choices import Choices
from edge.plan.footprint import Footprint
from edge.spelling import named


@dataclass(frozen=True)
class OrtOpening:
    """Both sessions of an artifact, with what they will hold, ready to be loaded."""

    artifact: Artifact
    choices: Choices
    footprint: Footprint

    def uses(self) -> tuple[tuple[int, ...], ...]:
        """Nothing: its runtime does not say what its operators read."""
        return ()

    def open(self) -> Engine:
        """The engine with both sessions loaded."""
        from edge.engines.ort.open import open_engine  # not before: planning for another board needs no bindings

        return open_engine(self.artifact, self.choices, self.footprint)


class OrtPlanned(Asked):
    """onnxruntime-training."""

    name = "ort"
    opens_limited = False  # loading reserves 60 MB of private memory that it never touches
    freezes_norms = False  # its training graph always trains batch norm
    saves_narrow = False

    def refuses(self, choices: Choices) -> str | None:
        """Why the engine cannot make these choices, or None if it can."""
        manifest = self.artifact.manifest
        exported = manifest.ort.get("recompute", "none")
        if choices.recompute != exported:
            return (
                f"recomputation is fixed when the artifact is exported, here to {exported}; use "
                f"{named('recompute')} {exported} "
                f"or {named('engine')} native, or export it otherwise"
            )
        if choices.saved != "float32":
            return (
                f"it keeps float32 alone for the backward pass; leave {named('saved')} {choices.saved} out or use "
                f"{named('engine')} native"
            )
        if choices.batch_norm == "frozen" and self.has_batch_norm:
            return (
                f"its training graph always trains batch norm; use {named('batch_norm')} train or "
                f"{named('engine')} native"
            )
        if choices.label_smoothing != manifest.label_smoothing:
            return (
                f"label smoothing {choices.label_smoothing:g}; the training graph was exported with "
                f"{manifest.label_smoothing:g}: use that, export again, or use {named('engine')} native"
            )
        return self._room_refusal(choices) or super().refuses(choices)

    def _room_refusal(self, choices: Choices) -> str | None:
        parts = self.artifact.manifest.ort.get("parameters", {})
        for name, sparsity in choices.densest_sparsity.items():
            parameter = self.network.parameters[name]
            if name not in parts or parameter.format == "channel":
                return (
                    f"{name} is stored {parameter.format}, which its graph cannot mutate; use {named('engine')} native"
                )
            if parameter.format != "masked" and densest_units(parameter, sparsity) > parts[name]["slots"]:
                return (
                    f"{name} has room for {parts[name]['slots']} units, mutation grows it past that; "
                    f"export with {named('mutate')} ems, or use {named('mutate')} em"
                )
        return None

    def prepare(self, choices: Choices) -> OrtOpening:
        """All memory above the baseline, by the liveness of the graph."""
        ort = self.artifact.manifest.ort
        footprint = estimate(self.network, choices, ort.get("memory"), ort.get("blocks", ()))
        return OrtOpening(self.artifact, choices, footprint)

    def evaluation_bytes(self, choices: Choices) -> int:
        """Evaluation is a session of its own."""
        return evaluation_bytes(self.network, choices)

    def time_cost(self, choices: Choices) -> float:
        """Dense kernels: the time hardly depends on the size of the pieces, and recomputing repeats a forward pass."""
        again = 0.25 if choices.recompute == "blocks" else 0.0
        return (1 + again) * (1 + 0.05 / choices.micro_batch)
