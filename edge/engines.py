"""The engines as the planner and the commands see them; an engine's library is loaded only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from edge.artifact import Artifact
from edge.engine import Engine
from edge.errors import BudgetError, InputError
from edge.libraries import ENGINES, engine_available, load_library
from edge.memory import read_counters
from edge.network import select_trainable
from edge.network.operators import BatchNorm
from edge.ort.footprint import densest_units
from edge.plan.choices import Choices
from edge.plan.footprint import Footprint
from edge.plan.memory import DataNeeds, MemoryPlan
from edge.plan.search import Planned, Request, search

_DESCRIPTION_BYTES = 2 << 20  # what reading an artifact adds, where it cannot be measured here


class Candidate(Planned, Protocol):
    """An engine that the planner can ask and that can be opened."""

    opens_limited: bool  # True if all private memory that opening takes is planned, so that the limit can hold already

    def open(self, plan: MemoryPlan) -> Engine:
        """The engine, ready for its first step."""


class _Asked:
    """What both engines answer alike, from the network and the baseline."""

    def __init__(self, artifact: Artifact, baseline_bytes: int, held_bytes: int) -> None:
        self.artifact = artifact
        self.network = artifact.network
        self.baseline_bytes = baseline_bytes
        self.held_bytes = held_bytes
        self.has_batch_norm = any(isinstance(operator, BatchNorm) for operator in self.network.operators)
        able = {name for name, parameter in self.network.parameters.items() if parameter.trainable}
        self.weight_layers = sum(operator.weight in able for operator in self.network.layers())

    def trained(self, trainable: str) -> set[str]:
        """Names of the parameters that are trained; none where `trainable` does not mean any."""
        try:
            return select_trainable(self.network, trainable)
        except InputError:
            return set()

    def refuses(self, choices: Choices) -> str | None:
        """Why the engine cannot make these choices, or None if it can."""
        for name in choices.densest_sparsity:
            parameter = self.network.parameters[name]
            loose = parameter.format == "masked" and parameter.scheme != "irregular"
            if parameter.format == "dense" or loose:
                return f"{name} is stored {parameter.format}, which cannot mutate; export with --format auto"
        try:
            select_trainable(self.network, choices.trainable)
        except InputError as error:
            return str(error)
        return None


class NativePlanned(_Asked):
    """Our own sparse kernels."""

    name = "native"
    opens_limited = True

    def estimate(self, choices: Choices) -> Footprint:
        """All memory above the baseline."""
        from edge.native.engine import NativeEngine

        return NativeEngine.estimate(self.network, choices)

    def evaluation_bytes(self, choices: Choices) -> int:
        """Evaluation runs in the arena of training."""
        return 0

    def time_cost(self, choices: Choices) -> float:
        """Small pieces use the vectors less well; recomputation repeats part of the forward pass."""
        again = {"none": 0.0, "activations": 0.08, "blocks": 0.25}[choices.recompute]
        return (1 + again) * (1 + 1.2 * choices.micro_batch**-1.4)

    def open(self, plan: MemoryPlan) -> Engine:
        """The engine with its arena allocated; hands the mapped file back."""
        from edge.native.engine import NativeEngine

        engine: Engine = NativeEngine(self.network, plan.choices)
        self.network.release()
        return engine


class OrtPlanned(_Asked):
    """onnxruntime-training."""

    name = "ort"
    opens_limited = False  # loading reserves 60 MB of private memory that it never touches

    def refuses(self, choices: Choices) -> str | None:
        """Why the engine cannot make these choices, or None if it can."""
        manifest = self.artifact.manifest
        exported = manifest.ort.get("recompute", "none")
        if choices.recompute != exported:
            return (
                f"recomputation is fixed when the artifact is exported, here to {exported}; use --recompute {exported} "
                "or --engine native, or export it otherwise"
            )
        if choices.batch_norm == "frozen" and self.has_batch_norm:
            return "its training graph always trains batch norm; use --batch-norm train or --engine native"
        if choices.label_smoothing != manifest.label_smoothing:
            return (
                f"label smoothing {choices.label_smoothing:g}; the training graph was exported with "
                f"{manifest.label_smoothing:g}: use that, export again, or use --engine native"
            )
        return self._room_refusal(choices) or super().refuses(choices)

    def _room_refusal(self, choices: Choices) -> str | None:
        parts = self.artifact.manifest.ort.get("parameters", {})
        for name, sparsity in choices.densest_sparsity.items():
            parameter = self.network.parameters[name]
            if name not in parts:
                return f"{name} is stored {parameter.format}, which its graph cannot mutate; use --engine native"
            if parameter.format != "masked" and densest_units(parameter, sparsity) > parts[name]["slots"]:
                return (
                    f"{name} has room for {parts[name]['slots']} units, mutation grows it past that; "
                    "export with --mutate ems, or use --mutate em"
                )
        return None

    def estimate(self, choices: Choices) -> Footprint:
        """All memory above the baseline, by the liveness of the graph."""
        from edge.ort.footprint import estimate

        ort = self.artifact.manifest.ort
        return estimate(self.network, choices, ort.get("memory"), ort.get("blocks", ()))

    def evaluation_bytes(self, choices: Choices) -> int:
        """Evaluation is a session of its own."""
        from edge.ort.footprint import evaluation_bytes

        return evaluation_bytes(self.network, choices)

    def time_cost(self, choices: Choices) -> float:
        """Dense kernels: the time hardly depends on the size of the pieces, and recomputing repeats a forward pass."""
        again = 0.25 if choices.recompute == "blocks" else 0.0
        return (1 + again) * (1 + 0.05 / choices.micro_batch)

    def open(self, plan: MemoryPlan) -> Engine:
        """The engine with both sessions loaded."""
        from edge.ort.open import open_engine

        return open_engine(self.artifact, plan)


def supports(name: str, artifact: Artifact) -> tuple[bool, str]:
    """Whether an artifact holds what an engine needs, and if not, why."""
    if name == "ort":
        ort = artifact.manifest.ort
        return bool(ort.get("available")), f"the artifact has no ORT files: {ort.get('reason')}"
    if artifact.network.foreign():
        return False, (
            f"the artifact has no native network: {artifact.manifest.native.get('reason')}; use --engine ort, or build "
            "the model of convolution, linear, batch norm, ReLU, pooling and addition"
        )
    return True, ""


def load_engine(name: str, artifact: Artifact, start_bytes: int | None, baseline_bytes: int | None) -> Candidate:
    """The engine with its library loaded. Its baseline is `start_bytes` (resident before the artifact was read) and
    what the library added; what the artifact and the data index hold stands beside it.

    A `baseline_bytes` that is given (another board's) is taken instead, and nothing is loaded. Without `start_bytes`
    (figures that cannot be trusted) neither is counted.
    """
    planned: Callable[..., Any] = NativePlanned if name == "native" else OrtPlanned
    if baseline_bytes is not None:
        return planned(artifact, baseline_bytes, _DESCRIPTION_BYTES)
    before = read_counters().resident or 0
    load_library(name)
    if start_bytes is None:
        return planned(artifact, 0, 0)
    now = read_counters().resident or 0
    baseline_bytes = start_bytes + now - before
    return planned(artifact, baseline_bytes, max(0, now - baseline_bytes))


def choose(
    asked: str,
    artifact: Artifact,
    request: Request,
    data: DataNeeds,
    budget_bytes: int | None,
    start_bytes: int | None = None,
    baselines: dict[str, int | None] | None = None,
) -> tuple[Candidate, MemoryPlan, str]:
    """The engine, its plan, and why it was taken: the one asked for, or with "auto" the fastest that fits.

    `baselines` are another board's resident bytes by engine (None where it cannot run there).
    """
    names = ENGINES if asked == "auto" else (asked,)
    refusals: list[str] = []
    budget_error: BudgetError | None = None
    for name in names:
        if name not in ENGINES:
            raise InputError(f"--engine {name}: allowed are auto, {', '.join(ENGINES)}")
        usable, reason = _usable(name, artifact, baselines)
        if not usable:
            refusals.append(f"{name}: {reason}")
            continue
        try:
            engine = load_engine(name, artifact, start_bytes, baselines[name] if baselines else None)
            plan = search(engine, request, data, budget_bytes)
        except BudgetError as error:
            budget_error = budget_error or error
            refusals.append(f"{name}: does not fit the budget")
            continue
        except InputError as error:
            refusals.append(str(error).removeprefix("engine "))
            continue
        why = "asked for" if asked != "auto" else "the fastest engine that fits"
        return engine, plan, "; ".join([why, *refusals])
    if budget_error is not None:
        raise budget_error
    raise InputError("engine " + "; engine ".join(refusals))


def _usable(name: str, artifact: Artifact, baselines: dict[str, int | None] | None) -> tuple[bool, str]:
    holds, reason = supports(name, artifact)
    if not holds:
        return False, reason
    if baselines is not None:
        return baselines.get(name) is not None, "not available on that board, or its baseline was not measured there"
    return engine_available(name)
