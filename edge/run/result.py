"""What a run of fine-tuning did, as its command prints it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge.plan.process import MemoryPlan
from edge.run.job import Job
from edge.run.measured import Measured, measured
from edge.run.session import Session
from edge.run.training import Outcome
from edge.run.training_data import TrainingData


@dataclass(frozen=True, kw_only=True)
class FinetuneResult(Measured):
    """What a run did, planned beside measured."""

    state: Path
    batch_size: int
    steps: int
    epochs: int
    swap_peak_bytes: int | None
    within_budget: bool | None
    limits: tuple[str, ...]
    guarantee: str
    swap: str
    step_ms_median: float | None
    data_ms_median: float | None
    accuracy_before: float | None
    accuracy_after: float | None
    samples_train: int
    samples_held_out: int
    samples_skipped: int  # images that could not be read
    sparsity: float
    zeros_kept: bool
    mutations: int
    stopped: bool
    saved: bool
    stopped_early: str | None
    kept_epoch: int | None
    plan: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "state": str(self.state), "limits": list(self.limits)}


def result_of(job: Job, session: Session, outcome: Outcome, data: TrainingData) -> FinetuneResult:
    """The result of a run that ended, or was stopped."""
    plan: MemoryPlan = session.plan
    position = outcome.position
    return FinetuneResult(
        state=job.state,
        batch_size=plan.choices.batch_size,
        steps=position.step,
        epochs=position.epoch,
        swap_peak_bytes=session.meter.peak_swap,
        within_budget=session.within_budget,
        **measured(session),
        limits=session.guarantee.limits,
        guarantee=session.guarantee.promise,
        swap=session.guarantee.swap,
        step_ms_median=outcome.timeline.step_ms_median,
        data_ms_median=outcome.timeline.data_ms_median,
        accuracy_before=position.accuracy_before,
        accuracy_after=outcome.accuracy_after,
        samples_train=len(data.split.train),
        samples_held_out=len(data.split.held_out),
        samples_skipped=data.source.skipped,
        sparsity=outcome.sparsity,
        zeros_kept=outcome.zeros_kept,
        mutations=len(position.mutations),
        stopped=outcome.stopped,
        saved=outcome.saved,
        stopped_early=position.stopped_early,
        kept_epoch=position.kept_epoch,
        plan=plan.chosen(),
    )
