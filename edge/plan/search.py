"""The choices that fit a budget at the least cost: exact ones first, those that change the result last."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Generic, Protocol, TypeVar

from edge.errors import BudgetError, InputError
from edge.host.limits import format_size, parse_size
from edge.plan.choices import BatchNorm, Choices, OptimizerChoice, Recompute, Saved
from edge.plan.footprint import Footprint
from edge.plan.norms import frozen_note, lone_refusal
from edge.plan.process import DataNeeds, MemoryPlan, Surroundings, make_plan
from edge.ranges import check_ranges
from edge.spelling import named

_MIB = 1 << 20
_START_SPREAD_BYTES = _MIB // 2  # by which starts of the same command differ; one that resumes also reads its state
_RECOMPUTE: tuple[Recompute, ...] = ("none", "activations", "blocks")


class Prepared(Protocol):
    """What an engine found out when it planned for certain choices."""

    @property
    def footprint(self) -> Footprint:
        """All memory above the baseline."""


Made = TypeVar("Made", bound=Prepared)
MadeOut = TypeVar("MadeOut", bound=Prepared, covariant=True)


class Planned(Protocol[MadeOut]):
    """An engine seen from the planner: what it can do, what that takes, and nothing allocated."""

    name: str
    baseline_bytes: int  # interpreter and libraries
    held_bytes: int  # what the artifact's description and the data index hold already
    surroundings: Surroundings  # what the process holds beside the network
    weight_layers: int  # trainable convolutions and linear layers as exported
    has_batch_norm: bool
    freezes_norms: bool  # True if it can leave single batch norms of a step frozen
    saves_narrow: bool  # True if it can keep what the backward pass reads in fewer bits

    def lone_norms(self, choices: Choices) -> tuple[str, ...]:
        """Batch norms that would see one value a channel in a piece of these choices."""

    def trained(self, trainable: str) -> set[str]:
        """Names of the parameters that are trained; none where `trainable` does not mean any."""

    def refuses(self, choices: Choices) -> str | None:
        """Why the engine cannot make these choices, or None if it can."""

    def prepare(self, choices: Choices) -> MadeOut:
        """What the engine will be opened with, with all memory above the baseline."""

    def evaluation_bytes(self, choices: Choices) -> int:
        """What evaluation adds to the footprint of training."""

    def time_cost(self, choices: Choices) -> float:
        """Time of a step relative to the fastest choices: a planning figure, not a measurement."""


@dataclass(frozen=True)
class Request:
    """What the user wants; None leaves a choice to the search. `exact` forbids what changes the result."""

    batch_size: int = 32
    micro_batch: int | None = None
    recompute: Recompute | None = None
    batch_norm: BatchNorm | None = None
    trainable: str | None = None
    threads: int = 1
    optimizer: OptimizerChoice = field(default_factory=OptimizerChoice)
    label_smoothing: float = 0.0
    densest_sparsity: dict[str, float] = field(default_factory=dict)
    exact: bool = False
    last_batch: int = 0  # samples of the smaller batch that ends an epoch, where that is known
    trains: bool = True  # False: for predictions alone, so that nothing about training is refused or said
    saved: Saved | None = None  # how what the backward pass reads is kept

    def __post_init__(self) -> None:
        check_ranges(
            {
                "batch_size": self.batch_size,
                "micro_batch": self.micro_batch,
                "threads": self.threads,
                "label_smoothing": self.label_smoothing,
            }
        )
        if self.micro_batch is not None and self.micro_batch > self.batch_size:
            raise InputError(
                f"{named('micro_batch')} {self.micro_batch}: must be from 1 to the batch size {self.batch_size}"
            )
        if self.exact and self.saved not in (None, "float32"):
            raise InputError(
                f"{named('saved')} {self.saved}: rounds the gradients, which {named('exact')} forbids; leave one out"
            )


# What a plan does to the result, least first: nothing; gradients rounded; batch norm over pieces of the batch; frozen.
_EXACT, _ROUNDED, _SPLIT, _FROZEN = range(4)


@dataclass(frozen=True)
class _Candidate:
    choices: Choices
    fewer_layers: int  # 0: all as asked; larger: fewer
    change: int  # one of the changes below
    time_cost: float
    lone: tuple[str, ...] = ()  # batch norms that are frozen in pieces of a single sample

    @property
    def family(self) -> tuple[str, ...]:
        """What all candidates share that differ only in the size of their pieces."""
        return (self.choices.trainable, self.choices.batch_norm, self.choices.recompute, self.choices.saved)


@dataclass(frozen=True)
class Found(Generic[Made]):
    """The plan that was found, and what the engine is opened with so that it is not made again."""

    plan: MemoryPlan
    prepared: Made


def search(planned: Planned[Made], request: Request, data: DataNeeds, budget_bytes: int | None) -> Found[Made]:
    """The first plan that fits, in the order: exact by time, then changed results by how much they change.

    Without a budget that is the fastest exact plan. Raises BudgetError with the largest contributors and the smallest
    budget that would do, InputError where the engine can make none of the choices asked for.
    """
    smallest: MemoryPlan | None = None
    refusal: str | None = None
    if request.trainable is not None and request.densest_sparsity and not _mutated(planned, request, request.trainable):
        raise InputError(
            f"engine {planned.name}: no sparse layer is among those that {named('trainable')} "
            f"{request.trainable} trains, and "
            f"only trained layers mutate; train more of them, or leave {named('mutate')} out"
        )
    candidates = sorted(_candidates(planned, request), key=_order)
    hopeless: set[tuple[str, ...]] = set()  # what does not fit in its smallest pieces does not in larger ones
    for candidate in candidates:
        reason = planned.refuses(candidate.choices) or _lone_refusal(planned, candidate, request)
        if reason is not None:
            refusal = refusal or reason
            continue
        if candidate.family in hopeless:
            continue
        found = _plan(planned, candidate, data)
        if budget_bytes is None or found.plan.peak_bytes <= budget_bytes:
            return found
        least = min(
            (other for other in candidates if other.family == candidate.family),
            key=lambda other: other.choices.micro_batch,
        )
        if least is not candidate:
            found = _plan(planned, least, data)
        plan = found.plan
        if plan.peak_bytes > budget_bytes:
            hopeless.add(candidate.family)
        if smallest is None or plan.peak_bytes < smallest.peak_bytes:
            smallest = plan
    if smallest is None or budget_bytes is None:
        raise InputError(f"engine {planned.name}: {refusal or 'cannot make these choices'}")
    raise BudgetError(_refusal(smallest, budget_bytes, request), _answer(smallest, budget_bytes))


def _plan(planned: Planned[Made], candidate: _Candidate, data: DataNeeds) -> Found[Made]:
    prepared = planned.prepare(candidate.choices)
    plan = make_plan(
        planned.name,
        candidate.choices,
        prepared.footprint,
        planned.baseline_bytes,
        data,
        planned.held_bytes,
        planned.evaluation_bytes(candidate.choices),
        exact=candidate.change == _EXACT and candidate.fewer_layers == 0 and not candidate.lone,
        time_cost=candidate.time_cost,
        notes=_notes(candidate, planned),
        frozen_norms=candidate.lone,
        surroundings=planned.surroundings,
    )
    return Found(plan, prepared)


def _lone_refusal(planned: Planned[Prepared], candidate: _Candidate, request: Request) -> str | None:
    if candidate.lone and request.exact:
        return lone_refusal(candidate.lone, candidate.choices, f"{named('exact')} forbids to freeze them there")
    if candidate.lone and not planned.freezes_norms:
        return lone_refusal(candidate.lone, candidate.choices, "its training graph cannot freeze them there")
    return None


def _order(candidate: _Candidate) -> tuple[float, ...]:
    """Least changed first, then fastest; batch norm over larger pieces changes less, and over single values most."""
    pieces = -candidate.choices.micro_batch if candidate.change == _SPLIT else 0
    rounded = candidate.choices.saved != "float32"
    return (candidate.fewer_layers, candidate.change, bool(candidate.lone), pieces, rounded, candidate.time_cost)


def smallest_budget(plan: MemoryPlan) -> str:
    """The plan's peak as an option value, rounded up to a tenth of a MiB, and what the next start may need more."""
    return f"{math.ceil((plan.peak_bytes + _START_SPREAD_BYTES) * 10 / _MIB) / 10:.1f}MiB"


def _answer(smallest: MemoryPlan, budget_bytes: int) -> dict[str, Any]:
    """What a refusal says for a program: the budget asked for, the smallest that would do, and what would fill it."""
    return {
        "engine": smallest.engine,
        "budget_bytes": budget_bytes,
        "smallest_budget_bytes": parse_size(smallest_budget(smallest)),
        "planned_peak_bytes": smallest.peak_bytes,
        "batch_size": smallest.choices.batch_size,
        "plan": smallest.chosen(),
        "contributors": [{"name": name, "bytes": nbytes} for name, nbytes in smallest.contributors()],
    }


def _refusal(smallest: MemoryPlan, budget_bytes: int, request: Request) -> str:
    parts = ", ".join(f"{name} {format_size(nbytes)}" for name, nbytes in smallest.contributors()[:4])
    exact = f" ({named('exact')} forbids plans that change the result and need less)" if request.exact else ""
    return (
        f"memory budget {format_size(budget_bytes)} cannot be met by engine {smallest.engine}: the smallest plan needs "
        f"{format_size(smallest.peak_bytes)}, of which {parts}; "
        f"give {named('memory_budget')} {smallest_budget(smallest)} or more{exact}"
    )


def _candidates(planned: Planned[Prepared], request: Request) -> Iterator[_Candidate]:
    asked_norm: BatchNorm = request.batch_norm or "train"
    norms: list[BatchNorm] = [asked_norm]
    if request.batch_norm is None and planned.has_batch_norm and not request.exact:
        norms.append("frozen")
    for fewer, trainable in enumerate(_trainable(planned, request)):
        densest = _mutated(planned, request, trainable)
        if request.densest_sparsity and not densest:
            continue  # mutation was asked for, and would not take place
        for norm in norms:
            for micro in _micro_batches(request):
                split_norm = micro < request.batch_size and norm == "train" and planned.has_batch_norm
                if split_norm and request.exact:
                    continue
                for recompute, saved in product(_recomputations(request), _storages(planned, request)):
                    choices = Choices(
                        batch_size=request.batch_size,
                        micro_batch=micro,
                        recompute=recompute,
                        batch_norm=norm,
                        trainable=trainable,
                        optimizer=request.optimizer,
                        label_smoothing=request.label_smoothing,
                        threads=request.threads,
                        densest_sparsity=densest,
                        last_batch=request.last_batch,
                        saved=saved,
                    )
                    change = _ROUNDED if saved != "float32" else _EXACT
                    change = _FROZEN if norm != asked_norm else _SPLIT if split_norm else change
                    lone = planned.lone_norms(choices) if request.trains else ()
                    yield _Candidate(choices, fewer, change, planned.time_cost(choices), lone)


def _micro_batches(request: Request) -> list[int]:
    if request.micro_batch is not None:
        return [request.micro_batch]
    sizes = [request.batch_size]
    while sizes[-1] > 1:
        sizes.append((sizes[-1] + 1) // 2)
    return sizes


def _recomputations(request: Request) -> tuple[Recompute, ...]:
    return _RECOMPUTE if request.recompute is None else (request.recompute,)


def _storages(planned: Planned[Prepared], request: Request) -> tuple[Saved, ...]:
    """How what the backward pass reads may be kept: in half the bits where that is allowed, in fewer only if asked."""
    if request.saved is not None:
        return (request.saved,)
    narrow = planned.saves_narrow and request.trains and not request.exact
    return ("float32", "bfloat16") if narrow else ("float32",)


def _trainable(planned: Planned[Prepared], request: Request) -> list[str]:
    if request.trainable is not None or request.exact:
        return [request.trainable or "all"]
    counts, count = [], planned.weight_layers // 2
    while count >= 1:
        counts.append(f"last:{count}")
        count //= 2
    return ["all", *counts]


def _mutated(planned: Planned[Prepared], request: Request, trainable: str) -> dict[str, float]:
    """What mutation was asked for, of the layers that are trained: frozen ones stay as they are and need no room."""
    trained = planned.trained(trainable) if request.densest_sparsity else set()
    return {name: sparsity for name, sparsity in request.densest_sparsity.items() if name in trained}


def _notes(candidate: _Candidate, planned: Planned[Prepared]) -> tuple[str, ...]:
    choices = candidate.choices
    notes = []
    whole = replace(choices, micro_batch=choices.batch_size)
    if choices.recompute != "none":
        slower = planned.time_cost(choices) / planned.time_cost(replace(choices, recompute="none")) - 1
        notes.append(f"{choices.recompute} are recomputed in the backward pass: exact, about {slower:+.0%} time")
    if choices.micro_batch < choices.batch_size:
        slower = planned.time_cost(choices) / planned.time_cost(whole) - 1
        effect = "changes the result: batch norm sees fewer samples" if candidate.change == _SPLIT else "exact"
        split = f"micro-batches of {choices.micro_batch} of {choices.batch_size} samples"
        notes.append(f"{split}: {effect}, about {slower:+.0%} time")
    if choices.saved != "float32":
        slower = planned.time_cost(choices) / planned.time_cost(replace(choices, saved="float32")) - 1
        notes.append(
            f"{choices.saved} is kept for the backward pass: changes the result, gradients are rounded by it, "
            f"about {slower:+.0%} time"
        )
    if candidate.change == _FROZEN:
        notes.append("batch norm is frozen: changes the result, statistics stay as exported")
    if candidate.lone:
        notes.append(frozen_note(candidate.lone, choices))
    if candidate.fewer_layers:
        notes.append(f"only {choices.trainable} layers are trained: changes the result, less time")
    return tuple(notes)
