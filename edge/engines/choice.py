"""Which engine is taken for an artifact, with which plan; an engine's library is loaded only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge.engines.asked import Candidate, Opening
from edge.engines.available import load_library
from edge.errors import BudgetError, InputError
from edge.handover.artifact import Artifact
from edge.host.counters import give_back_freed, read_counters
from edge.plan.choices import ENGINES
from edge.plan.process import DataNeeds, MemoryPlan
from edge.plan.search import Request, search
from edge.spelling import named

_DESCRIPTION_BYTES = 2 << 20  # what reading an artifact adds, where it cannot be measured here


@dataclass(frozen=True)
class Chosen:
    """An engine that was asked, its plan, what opens it, and why it was taken."""

    candidate: Candidate
    plan: MemoryPlan
    opening: Opening
    why: str


def supports(name: str, artifact: Artifact) -> tuple[bool, str]:
    """Whether an artifact holds what an engine needs, and if not, why."""
    if name == "ort":
        ort = artifact.manifest.ort
        return bool(ort.get("available")), f"the artifact has no ORT files: {ort.get('reason')}"
    if artifact.network.foreign():
        return False, (
            f"the artifact has no native network: {artifact.manifest.native.get('reason')}; use "
            f"{named('engine')} ort, or build the model of what docs/network-format.md lists"
        )
    return True, ""


def load_engine(name: str, artifact: Artifact, start_bytes: int | None, baseline_bytes: int | None) -> Candidate:
    """The engine with its library loaded. Its baseline is `start_bytes` (resident before the artifact was read) and
    what the library added; what the artifact and the data index hold stands beside it.

    A `baseline_bytes` that is given (another board's) is taken instead, and nothing is loaded. Without `start_bytes`
    (figures that cannot be trusted) neither is counted.
    """
    planned = _planned(name)
    if baseline_bytes is not None:
        return planned(artifact, baseline_bytes, _DESCRIPTION_BYTES)
    before = read_counters().resident or 0
    load_library(name)
    if start_bytes is None:
        return planned(artifact, 0, 0)
    give_back_freed()  # what is free already is not held
    now = read_counters().resident or 0
    baseline_bytes = start_bytes + now - before
    return planned(artifact, baseline_bytes, max(0, now - baseline_bytes))


def _planned(name: str) -> Callable[[Artifact, int, int], Candidate]:
    """The class of an engine as the planner asks it; no module of the other one is held."""
    if name == "native":
        from edge.engines.native.planned import NativePlanned

        return NativePlanned
    from edge.engines.ort.planned import OrtPlanned

    return OrtPlanned


def choose(
    asked: str,
    artifact: Artifact,
    request: Request,
    data: DataNeeds,
    budget_bytes: int | None,
    start_bytes: int | None = None,
    baselines: dict[str, int | None] | None = None,
) -> Chosen:
    """The engine asked for, or with "auto" the fastest that fits, planned and ready to be opened.

    `baselines` are another board's resident bytes by engine (None where it cannot run there).
    """
    names = ENGINES if asked == "auto" else (asked,)
    refusals: list[str] = []
    budget_error: BudgetError | None = None
    for name in names:
        if name not in ENGINES:
            raise InputError(f"{named('engine')} {name}: allowed are auto, {', '.join(ENGINES)}")
        usable, reason = _planable(name, artifact, baselines)
        if not usable:
            refusals.append(f"{name}: {reason}")
            continue
        try:
            engine = load_engine(name, artifact, start_bytes, baselines[name] if baselines else None)
            found = search(engine, request, data, budget_bytes)
        except BudgetError as error:
            # An engine that was preferred and cannot run may be the one that would fit.
            budget_error = budget_error or (error.also("; ".join(refusals)) if refusals else error)
            refusals.append(f"{name}: does not fit the budget")
            continue
        except InputError as error:
            refusals.append(str(error).removeprefix("engine "))
            continue
        why = "asked for" if asked != "auto" else "the fastest engine that fits"
        return Chosen(engine, found.plan, found.prepared, "; ".join([why, *refusals]))
    if budget_error is not None:
        raise budget_error
    raise InputError("engine " + "; engine ".join(refusals))


def _planable(name: str, artifact: Artifact, baselines: dict[str, int | None] | None) -> tuple[bool, str]:
    """Whether an artifact holds what an engine needs and, where `baselines` are another board's, that board too."""
    holds, reason = supports(name, artifact)
    if holds and baselines is not None:
        return baselines.get(name) is not None, "not available on that board, or its baseline was not measured there"
    return holds, reason
