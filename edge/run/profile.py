"""`mest profile` without its command line: a few steps of training whose time and memory are taken apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Protocol, runtime_checkable

import numpy as np

from edge import chance
from edge.data.batches import Batches
from edge.data.open import open_source
from edge.data.source import Source
from edge.engines.board import read_board
from edge.engines.choice import load_engine
from edge.handover.artifact import Artifact, open_artifact
from edge.handover.state import write_state
from edge.host.limits import memory_errors
from edge.plan.alternatives import alternatives
from edge.plan.footprint import Buffer
from edge.plan.process import DataNeeds, MemoryPlan
from edge.plan.search import Request
from edge.ranges import check_ranges
from edge.report.record import OperatorCost, Plan, Profile, Record
from edge.report.steps import direction_of, layer_of
from edge.run.needs import data_needs
from edge.run.rate import densest_sparsity, mutation_bounds
from edge.run.recording import measured, planned, reading
from edge.run.session import Board, Session

WARMUP_STEPS = 2
LEARNING_RATE = 1e-3
NO_OPERATOR_TIMES = (
    "onnxruntime-training cannot say what its operators take while it trains (its profile comes out corrupt), so only "
    "whole steps are timed"
)


class StepTimes(Protocol):
    """Seconds of every step of the plan, in order, beside its name and its operator's."""

    names: tuple[str, ...]
    operators: tuple[str, ...]
    seconds: tuple[float, ...]


@runtime_checkable
class TimesOperators(Protocol):
    """An engine that can time the steps of its plan while it trains on one micro-batch."""

    def profile_step(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> StepTimes:
        """The times of one training step."""


@dataclass(frozen=True)
class Job:
    """What to profile. Without `data` the images are noise, which takes the same time and memory as real ones.

    `mutate` ("none", "em" or "ems") adds one mutation; `request` is asked of the planner once the artifact is known.
    `scratch` is a directory for a state that is written, to measure that too, and removed.
    """

    artifact: Path
    scratch: Path
    request: Callable[[Artifact], Request]
    engine: str = "auto"
    budget_bytes: int | None = None
    data: str | None = None
    steps: int = 10
    mutate: str = "none"
    seed: int = 0


def profile(job: Job, stop: Callable[[], bool] = lambda: False) -> Record:
    """The record of a few training steps; the artifact and its state stay as they are.

    Raises BudgetError if nothing fits; returns early, with the steps so far, once `stop` is True.
    """
    check_ranges({"steps": job.steps, "seed": job.seed})
    board = Board()
    artifact = open_artifact(job.artifact)
    source = _source(job, artifact)
    try:
        densest = densest_sparsity(job.mutate, artifact.mutation_targets(method=job.mutate))
        request = replace(job.request(artifact), densest_sparsity=densest)
        if source is not None and len(source.labels) < request.batch_size:
            request = replace(request, last_batch=len(source.labels))
        needs = _needs(artifact, source)
        with Session(board, artifact, job.engine, request, needs, job.budget_bytes) as session:
            plan = session.plan
            record = _record(job, session, source, stop)
    finally:
        if source is not None:
            source.close()
    return replace(record, plan=_explained(record.plan, plan, needs, job.artifact))


def _explained(said: Plan, plan: MemoryPlan, needs: DataNeeds, artifact: Path) -> Plan:
    """The plan with who uses each tensor and what would need less; drawn once the run's memory is handed back."""
    candidate = load_engine(plan.engine, open_artifact(artifact), None, plan.baseline_bytes)
    uses = candidate.prepare(plan.choices).uses()
    return replace(said, uses=uses, alternatives=alternatives(candidate, plan, needs))


def _source(job: Job, artifact: Artifact) -> Source | None:
    if job.data is None:
        return None
    task, output = artifact.network.task, artifact.network.output
    return open_source(job.data, artifact.class_names, None, artifact.preprocess, task=task, output=output)


def _needs(artifact: Artifact, source: Source | None) -> DataNeeds:
    if source is None:
        return data_needs(artifact)
    return data_needs(artifact, len(source.labels), source.decoder_bytes)


def _record(job: Job, session: Session, source: Source | None, stop: Callable[[], bool]) -> Record:
    images, labels = _batch(job, session, source)
    with memory_errors("profiling"):
        session.meter.enter("evaluate")
        session.engine.predict(images)
        session.meter.enter("train")
        found = _steps(session, images, labels, job.steps, stop)
        _mutate(job, session)
        _save(job.scratch, session)
        session.meter.enter("train")
    session.check()
    facts = read_board()
    plan = session.plan
    return Record(
        command="profile",
        created=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        network=session.artifact.path.name,
        engine=plan.engine,
        engine_reason=session.why,
        board=dict(facts),
        choices=asdict(plan.choices),
        plan=planned(plan),
        measured=measured(session, plan, facts),
        budget_bytes=session.budget_bytes,
        profile=found,
        versions=dict(facts.get("versions", {})),
    )


def _batch(job: Job, session: Session, source: Source | None) -> tuple[np.ndarray, np.ndarray]:
    """One batch, of the data or of noise, by the seed."""
    artifact, size = session.artifact, session.plan.choices.batch_size
    if source is None:
        return noise(artifact.shape, size, job.seed), artifact.network.task.noise(size, artifact.network.output)
    batches = Batches(source, artifact.preprocess, artifact.shape, size, job.seed, output=artifact.network.output)
    return batches.read(chance.permutation(len(source.labels), job.seed)[:size], 0)


def noise(shape: tuple[int, int, int], count: int, seed: int) -> np.ndarray:
    """Images float32 `(count, *shape)`, uniform with mean 0 and variance 1."""
    images = np.empty((count, *shape), np.float32)
    for number in range(count):
        uniform = chance.keys(chance.mix(seed, number), images[0].size) >> np.uint64(40)  # 24 bits, as a float32 holds
        images[number] = (uniform.astype(np.float32) * 2.0**-23 - 1).reshape(shape) * 3**0.5
    return images


def _steps(session: Session, images: np.ndarray, labels: np.ndarray, steps: int, stop: Callable[[], bool]) -> Profile:
    """Whole steps first, then as many with their operators timed where the engine can do that."""
    engine, whole = session.engine, []
    for number in range(WARMUP_STEPS + steps):
        started = time.perf_counter()
        engine.train_step(images, labels, LEARNING_RATE)
        if number >= WARMUP_STEPS:
            whole.append((time.perf_counter() - started) * 1e3)
        if stop():
            break
    step_ms = reading(median(whole) if whole else None, "stopped before the first timed step")
    if not isinstance(engine, TimesOperators):
        return Profile(NO_OPERATOR_TIMES, len(whole), step_ms)
    piece = slice(0, session.plan.choices.micro_batch)
    taken: list[StepTimes] = []
    while len(taken) < max(1, len(whole)) and not (taken and stop()):
        taken.append(engine.profile_step(images[piece], labels[piece], LEARNING_RATE))
    source = f"Timed around every operator of one pass over {len(images[piece])} samples"
    return Profile(source, len(whole), step_ms, operator_costs(taken, engine.footprint.buffers))


def operator_costs(taken: Sequence[StepTimes], buffers: Sequence[Buffer]) -> tuple[OperatorCost, ...]:
    """Every step of the plan with the median of its times and the bytes of the arena that begin to be used in it."""
    begun: dict[int, int] = {}
    for buffer in buffers:
        begun[buffer.first] = begun.get(buffer.first, 0) + buffer.nbytes
    first = taken[0]
    return tuple(
        OperatorCost(
            name=layer_of(name),
            op=op,
            direction=direction_of(name, op),
            milliseconds=median(times.seconds[place] for times in taken) * 1e3,
            nbytes=begun.get(place, 0),
        )
        for place, (name, op) in enumerate(zip(first.names, first.operators, strict=True))
    )


def _mutate(job: Job, session: Session) -> None:
    targets = session.artifact.mutation_targets(session.plan.choices.trainable)
    if job.mutate != "none" and targets:
        bounds = mutation_bounds(job.mutate, targets, 0.0)
        session.meter.enter("mutate")
        session.engine.mutate(bounds.prune_to, bounds.grow_to, job.seed)


def _save(scratch: Path, session: Session) -> None:
    """Save as fine-tuning does, into a directory that is gone afterwards."""
    from tempfile import TemporaryDirectory  # not before the steps were measured

    scratch.mkdir(parents=True, exist_ok=True)
    session.meter.enter("save")
    with TemporaryDirectory(prefix="state-", dir=scratch) as folder:
        write_state(Path(folder), {}, session.engine.snapshot())
