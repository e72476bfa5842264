"""Fills the record of a run from what the session measured."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from edge.handover.artifact import Artifact
from edge.host.counters import Meter
from edge.plan.process import MemoryPlan, phase_peaks
from edge.report.record import EpochPoint, Limit, Measured, MutationPoint, Plan, Reading, Record, StepPoint, Training
from edge.run.session import Session
from edge.run.training import Outcome
from edge.tasks.task import Task


def make_record(
    artifact: Artifact,
    session: Session,
    outcome: Outcome,
    samples_train: int,
    samples_held_out: int,
    board: Mapping[str, Any],
) -> Record:
    """The record of a finished or stopped fine-tuning run."""
    plan = session.plan
    return Record(
        command="finetune",
        created=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        network=artifact.path.name,
        engine=plan.engine,
        engine_reason=session.why,
        board=dict(board),
        choices=asdict(plan.choices),
        plan=planned(plan),
        measured=measured(session, plan, board),
        budget_bytes=session.budget_bytes,
        training=_training(session.task, outcome, samples_train, samples_held_out),
        versions=dict(board.get("versions", {})),
    )


def planned(plan: MemoryPlan) -> Plan:
    """A plan as a record holds it; what the phases add beside the step stands in the peak alone."""
    return Plan(
        baseline_bytes=plan.baseline_bytes,
        peak_bytes=plan.peak_bytes,
        arena_bytes=plan.footprint.arena.nbytes,
        naive_bytes=plan.footprint.arena.naive_bytes,
        items=plan.items,
        buffers=plan.footprint.buffers,
        steps=plan.footprint.steps,
        phases=dict(phase_peaks(plan)),
        notes=plan.notes,
        offsets=plan.footprint.arena.offsets,
    )


def measured(session: Session, plan: MemoryPlan, board: Mapping[str, Any]) -> Measured:
    """What the kernel counted during a session."""
    meter: Meter = session.meter
    guarantee = session.guarantee
    return Measured(
        baseline_bytes=reading(plan.baseline_bytes if meter.reason is None else None, meter.reason),
        peak_bytes=reading(meter.peak, meter.reason),
        swap_peak_bytes=reading(meter.peak_swap, meter.reason),
        limit=Limit(" and ".join(guarantee.limits) or "none", guarantee.promise, session.budget_bytes),
        phases={name: Reading(nbytes) for name, nbytes in meter.phases.items() if name != "start"},
        allocator=str(board.get("allocator", "unknown")),
    )


def reading(value: float | int | None, reason: str | None = None) -> Reading:
    """A reading, or the reason why there is none."""
    return Reading(value) if value is not None else Reading(None, reason or "not measured")


def _training(task: Task, outcome: Outcome, samples_train: int, samples_held_out: int) -> Training:
    position, timeline = outcome.position, outcome.timeline
    nothing_held = "no sample was held out" if not samples_held_out else None
    after_reason = "the run was stopped before its end" if outcome.stopped else nothing_held
    return Training(
        step_count=position.step,
        step_ms_median=reading(timeline.step_ms_median, "no step ran in this process"),
        accuracy_before=reading(position.accuracy_before, nothing_held),
        accuracy_after=reading(outcome.score_after, after_reason),
        sparsity=Reading(outcome.sparsity),
        zeros_kept=outcome.zeros_kept,
        steps=tuple(StepPoint(p.step, p.loss, p.step_ms, p.learning_rate) for p in timeline.points),
        epochs=tuple(EpochPoint(**epoch) for epoch in position.epochs),
        mutations=tuple(MutationPoint(**event) for event in position.mutations),
        samples_train=samples_train,
        samples_held_out=samples_held_out,
        stopped_early=position.stopped_early,
        **_other_task(task, outcome),
    )


def _other_task(task: Task, outcome: Outcome) -> dict[str, Any]:
    """What a record says of a task whose samples have no classes."""
    if task.of_classes:
        return {}
    names = [metric.key for metric in task.metrics]
    return {"task": task.name, "metrics_after": dict(zip(names, outcome.scores_after or (), strict=False))}
