"""`mest finetune` without its command line: open, plan, train, record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.artifact import Artifact, open_artifact
from edge.batches import Batches, Split, hold_out
from edge.board import read_board
from edge.budget import format_size, memory_errors
from edge.data import Source, open_source
from edge.digest import sha256
from edge.errors import BudgetError, DamagedError, InputError
from edge.plan.memory import DataNeeds, MemoryPlan
from edge.plan.search import Request
from edge.recording import make_record
from edge.report.record import write_record
from edge.schedule import densest_sparsity
from edge.session import WROTE_STATE, Board, Session, continued_engine, continued_request
from edge.state import is_state, read_facts
from edge.training import FineTuning, Moment, Outcome, Position, Settings

RECORD_FILE = "record.json"


@dataclass(frozen=True)
class Job:
    """What to fine-tune, with what, into which state, under which budget. `resume` continues the state.

    `request` says what the planner is asked once the artifact is known, whose optimizer is the default.
    `replan` lets a resumed run take another plan than the state pins. `eval_data` replaces the held-out part.
    """

    artifact: Path
    data: str
    state: Path
    settings: Settings
    request: Callable[[Artifact], Request]
    engine: str = "auto"
    budget_bytes: int | None = None
    resume: bool = False
    replan: bool = False
    eval_data: str | None = None


@dataclass(frozen=True)
class FinetuneResult:
    """What a run did, planned beside measured. Bytes are of the whole process; None where no figure can be trusted."""

    state: Path
    engine: str
    engine_reason: str
    batch_size: int
    steps: int
    epochs: int
    budget_bytes: int | None
    planned_peak_bytes: int
    measured_peak_bytes: int | None
    measured_reason: str | None
    swap_peak_bytes: int | None
    within_budget: bool | None
    baseline_bytes: int | None
    limits: tuple[str, ...]
    guarantee: str
    swap: str
    step_ms_median: float | None
    data_ms_median: float | None
    accuracy_before: float | None
    accuracy_after: float | None
    samples_train: int
    samples_held_out: int
    sparsity: float
    zeros_kept: bool
    mutations: int
    stopped: bool
    stopped_early: str | None
    kept_epoch: int | None
    plan: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "state": str(self.state), "limits": list(self.limits)}


def finetune(
    job: Job,
    stop: Callable[[], bool] = lambda: False,
    watch: Callable[[Moment], None] = lambda moment: None,
    say: Callable[[str], None] = lambda message: None,
) -> FinetuneResult:
    """Fine-tune to the end or until `stop`. The state directory is complete whenever this returns or raises.

    Raises BudgetError before training if nothing fits, or while training when the budget is hit.
    """
    board = Board()
    facts = _facts_to_continue(job)
    artifact = open_artifact(job.artifact)
    if artifact.state is not None:
        raise InputError(
            f"{job.artifact}: is a state; give the artifact and continue the state with --out and --resume"
        )
    if facts is not None and facts["artifact"]["manifest_sha256"] != artifact.identity()["manifest_sha256"]:
        raise DamagedError(f"{job.state}: was trained from another artifact than {job.artifact}")
    job.state.mkdir(parents=True, exist_ok=True)
    source = open_source(job.data, artifact.class_names, job.state)
    held = open_source(job.eval_data, artifact.class_names, job.state) if job.eval_data else None
    try:
        data = TrainingData.of(source, held, job.settings)
        position = None if facts is None else _position(job, facts, data)
        request, engine = _request(job, artifact, facts, position, len(data.split.train))
        with _open(board, artifact, engine, request, data.needs(artifact), job) as session:
            say(_announce(session))
            if held is None and source.test_indices is not None:
                say(f"held out are the {len(data.split.held_out)} samples that {job.data} marks as test")
            with memory_errors("fine-tuning"):  # whatever else asks for memory
                return _run(job, artifact, session, data, position, stop, watch)
    finally:
        source.close()
        if held is not None:
            held.close()


class TrainingData:
    """The sources as one numbered set, the split of it, and a fingerprint that a state holds."""

    def __init__(self, source: Source, split: Split, fingerprint: str) -> None:
        self.source = source
        self.split = split
        self.fingerprint = fingerprint

    @classmethod
    def of(cls, source: Source, held: Source | None, settings: Settings) -> TrainingData:
        """The set that `settings` split, or the sources as its two parts; no sample marked as test is trained on.

        Raises InputError for a single class.
        """
        marked = source.test_indices
        learned = np.ones(len(source.labels), dtype=bool)
        if marked is not None:
            learned[marked] = False
        train = np.flatnonzero(learned).astype(np.int32)
        if not len(train) or source.labels[train].min() == source.labels[train].max():
            raise InputError("--data: all samples to train on are of one class; fine-tuning needs at least two")
        if held is not None:
            tested = np.arange(len(held.labels)) if held.test_indices is None else held.test_indices
            split = Split(train, (len(learned) + tested).astype(np.int32))
            source = _Joined(source, held)
        elif marked is not None:
            split = Split(train, marked)
        else:
            split = hold_out(source.labels, settings.hold_out, settings.seed)
        digest = sha256()
        for array in (source.labels,) if marked is None else (source.labels, marked):
            digest.update(np.ascontiguousarray(array).data.cast("B"))
        return cls(source, split, str(digest.hexdigest()))

    def needs(self, artifact: Artifact) -> DataNeeds:
        """What reading it takes."""
        image_bytes = 4 * int(np.prod(artifact.shape))
        return DataNeeds(len(self.source.labels), self.source.decoder_bytes, image_bytes)


class _Joined:
    """Two sources as one, the second numbered after the first."""

    def __init__(self, first: Source, second: Source) -> None:
        self._first, self._second = first, second
        self.labels = np.concatenate([first.labels, second.labels])
        self.test_indices: np.ndarray | None = None
        self.decoder_bytes = max(first.decoder_bytes, second.decoder_bytes)

    def pixels(self, index: int, preprocess: Any) -> np.ndarray:
        count = len(self._first.labels)
        source = self._first if index < count else self._second
        return source.pixels(index if index < count else index - count, preprocess)

    def close(self) -> None:
        self._first.close()
        self._second.close()


def resumable_facts(state: Path) -> dict[str, Any]:
    """What a state says about the run that it belongs to; raises InputError if no run of ours wrote it."""
    facts = read_facts(state)
    if "position" not in facts:
        raise InputError(f"{state}: was saved by a program of its own, not by a run; load it there, or start a new run")
    return facts


def _facts_to_continue(job: Job) -> dict[str, Any] | None:
    """What the state says if it is to be continued; refuses to write over one that is not."""
    if job.resume:
        return resumable_facts(job.state)
    if is_state(job.state):
        raise InputError(f"{job.state}: holds a state already; continue it with --resume, or give another --out")
    return None


def _position(job: Job, facts: Mapping[str, Any], data: TrainingData) -> Position:
    pinned, given = facts["settings"], asdict(job.settings)
    for name, value in given.items():
        if name != "save_every" and pinned.get(name) != value:
            raise InputError(
                f"{job.state}: was begun with {name.replace('_', ' ')} {pinned.get(name)!r}, not {value!r}; "
                "continue it with the same, or start anew in another --out"
            )
    if facts["data"] != data.fingerprint:
        raise InputError(f"{job.state}: was begun with other data than {job.data} (other labels); give the same data")
    return Position.from_json(facts["position"])


def _pinned_request(facts: Mapping[str, Any], request: Request, replan: bool) -> Request:
    """The request that leaves a resumed run the choices of its state; with `replan` only those its arrays depend on."""
    choices = facts["choices"]
    request = replace(continued_request(facts, request), batch_size=choices["batch_size"])
    if replan:
        return request
    return replace(request, **{name: choices[name] for name in ("micro_batch", "recompute", "batch_norm", "threads")})


def _request(
    job: Job, artifact: Artifact, facts: Mapping[str, Any] | None, position: Position | None, samples: int
) -> tuple[Request, str]:
    request = job.request(artifact)
    trainable = facts["choices"]["trainable"] if facts is not None else request.trainable or "all"
    targets = artifact.mutation_targets(trainable)
    if job.settings.mutate != "none" and not targets:
        raise InputError(
            f"--mutate {job.settings.mutate}: no sparse layer of {artifact.path} is trained; "
            "train more of them with --trainable, or leave --mutate out"
        )
    progress = 0.0 if position is None or not position.at_target else position.epoch / job.settings.epochs
    densest = densest_sparsity(job.settings.mutate, targets, progress)
    engine = job.engine
    if facts is not None:
        request = _pinned_request(facts, request, job.replan)
        engine = continued_engine(facts, engine, job.state)
    return replace(request, densest_sparsity=densest, last_batch=samples % request.batch_size), engine


def _open(board: Board, artifact: Artifact, engine: str, request: Request, needs: DataNeeds, job: Job) -> Session:
    try:
        session = Session(board, artifact, engine, request, needs, job.budget_bytes)
        if job.resume:
            session.why = WROTE_STATE
        return session
    except BudgetError as error:
        if job.resume and not job.replan:
            raise BudgetError(f"{error}; the state pins its plan: --replan lets it take another") from None
        raise


def _announce(session: Session) -> str:
    plan, budget = session.plan, session.budget_bytes
    size = f" of a budget of {format_size(budget)}" if budget is not None else ""
    lines = [f"engine {plan.engine} ({session.why}); planned peak {format_size(plan.peak_bytes)}{size}"]
    return "\n".join([*lines, *plan.notes])


def _run(
    job: Job,
    artifact: Artifact,
    session: Session,
    data: TrainingData,
    position: Position | None,
    stop: Callable[[], bool],
    watch: Callable[[Moment], None],
) -> FinetuneResult:
    choices, settings = session.plan.choices, job.settings
    batches = Batches(
        data.source, artifact.preprocess, artifact.shape, choices.batch_size, settings.seed, settings.augment
    )
    facts = {
        "artifact": artifact.identity(),
        "engine": session.plan.engine,
        "choices": asdict(choices),
        "data": data.fingerprint,
        "class_names": list(artifact.class_names),
    }
    run = FineTuning(session, batches, data.split, settings, job.state, facts, len(data.source.labels))
    if position is not None:
        run.resume(position)
    outcome = run.run(stop, watch)
    write_record(
        make_record(artifact, session, outcome, len(data.split.train), len(data.split.held_out), read_board()),
        job.state / RECORD_FILE,
    )
    return _result(job, session, outcome, data)


def _result(job: Job, session: Session, outcome: Outcome, data: TrainingData) -> FinetuneResult:
    plan: MemoryPlan = session.plan
    position = outcome.position
    return FinetuneResult(
        state=job.state,
        engine=plan.engine,
        engine_reason=session.why,
        batch_size=plan.choices.batch_size,
        steps=position.step,
        epochs=position.epoch,
        budget_bytes=job.budget_bytes,
        planned_peak_bytes=plan.peak_bytes,
        measured_peak_bytes=session.meter.peak,
        measured_reason=session.meter.reason,
        swap_peak_bytes=session.meter.peak_swap,
        within_budget=session.within_budget,
        baseline_bytes=session.baseline_bytes,
        limits=session.guarantee.limits,
        guarantee=session.guarantee.promise,
        swap=session.guarantee.swap,
        step_ms_median=outcome.timeline.step_ms_median,
        data_ms_median=outcome.timeline.data_ms_median,
        accuracy_before=position.accuracy_before,
        accuracy_after=outcome.accuracy_after,
        samples_train=len(data.split.train),
        samples_held_out=len(data.split.held_out),
        sparsity=outcome.sparsity,
        zeros_kept=outcome.zeros_kept,
        mutations=len(position.mutations),
        stopped=outcome.stopped,
        stopped_early=position.stopped_early,
        kept_epoch=position.kept_epoch,
        plan=plan.chosen(),
    )
