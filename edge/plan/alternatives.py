"""What would shrink a plan's peak: the same work with one choice changed, as the planner counts it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from edge.plan.choices import Choices
from edge.plan.footprint import Alternative
from edge.plan.process import DataNeeds, MemoryPlan, make_plan
from edge.plan.search import Planned, Prepared

_EXACT = ("recompute",)  # choices that never change the result


def alternatives(planned: Planned[Prepared], taken: MemoryPlan, data: DataNeeds) -> tuple[Alternative, ...]:
    """Plans that need less than the one that was taken, the largest saving first; each differs in one choice.

    What the engine refuses is left out, and so is what saves nothing. Draws a plan for each, and allocates nothing.
    """
    before = _peak(planned, taken.choices, data)
    cost = planned.time_cost(taken.choices)
    found = []
    for choice, choices in _changed(planned, taken.choices):
        if planned.refuses(choices) is not None or planned.lone_norms(choices):
            continue
        saved = before - _peak(planned, choices, data)
        if saved > 0:
            exact = choice in _EXACT or (choice == "micro_batch" and _pieces_are_exact(planned, choices))
            value = str(getattr(choices, choice))
            found.append(Alternative(choice, value, saved, planned.time_cost(choices) / cost, exact))
    return tuple(sorted(found, key=lambda one: (-one.saved_bytes, one.choice, one.value)))


def _peak(planned: Planned[Prepared], choices: Choices, data: DataNeeds) -> int:
    footprint, evaluation = planned.prepare(choices).footprint, planned.evaluation_bytes(choices)
    surroundings = planned.surroundings
    plan = make_plan(
        planned.name,
        choices,
        footprint,
        planned.baseline_bytes,
        data,
        planned.held_bytes,
        evaluation,
        surroundings=surroundings,
    )
    return plan.peak_bytes


def _pieces_are_exact(planned: Planned[Prepared], choices: Choices) -> bool:
    return choices.batch_norm == "frozen" or not planned.has_batch_norm


def _changed(planned: Planned[Prepared], taken: Choices) -> Iterator[tuple[str, Choices]]:
    """The choices with one of them changed, and which."""
    if taken.recompute == "none":
        yield "recompute", replace(taken, recompute="activations")
    if taken.recompute != "blocks":
        yield "recompute", replace(taken, recompute="blocks")
    if taken.saved == "float32" and planned.saves_narrow:
        yield "saved", replace(taken, saved="bfloat16")
    if taken.micro_batch > 1:
        yield "micro_batch", replace(taken, micro_batch=(taken.micro_batch + 1) // 2)
    if taken.micro_batch > 2:
        yield "micro_batch", replace(taken, micro_batch=1)
    if taken.batch_norm == "train" and planned.has_batch_norm:
        yield "batch_norm", replace(taken, batch_norm="frozen")
    if taken.trainable == "all" and planned.weight_layers > 1 and not taken.densest_sparsity:
        yield "trainable", replace(taken, trainable=f"last:{planned.weight_layers // 2}")
