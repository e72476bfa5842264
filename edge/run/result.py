"""What a run of fine-tuning did, as its command prints it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.plan.process import MemoryPlan
from edge.run.job import Job
from edge.run.measured import Measured, measured
from edge.run.session import Session
from edge.run.training import Outcome
from edge.run.training_data import TrainingData
from edge.tasks.task import Task, named_scores


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
    task: Task
    score_before: float | None
    scores_after: tuple[float, ...] | None
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

    @property
    def accuracy_before(self) -> float | None:
        """The metric that decides: accuracy, where samples have classes."""
        return self.score_before

    @property
    def accuracy_after(self) -> float | None:
        """The same after the run."""
        return None if self.scores_after is None else self.scores_after[0]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: accuracies, or the metrics of another task by its name."""
        facts: dict[str, Any] = {**vars(self), "state": str(self.state), "limits": list(self.limits)}
        task, before, after = (facts.pop(name) for name in ("task", "score_before", "scores_after"))
        if task.of_classes:
            return {"accuracy_before": before, "accuracy_after": None if after is None else after[0], **facts}
        named = named_scores(task, after) if after is not None else {"metric": None, "metrics": None}
        return {
            "task": task.name,
            "metric_name": task.metric.key,
            "metric_before": before,
            "metric_after": named["metric"],
            "metrics_after": named["metrics"],
            **facts,
        }


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
        task=session.task,
        score_before=position.accuracy_before,
        scores_after=outcome.scores_after,
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
