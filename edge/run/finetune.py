"""`mest finetune` without its command line: open, plan, train, record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from edge.data.batches import Batches
from edge.data.open import open_source
from edge.data.sample_list import SampleList
from edge.data.source import Source
from edge.errors import BudgetError, InputError
from edge.files.lock import holding
from edge.handover.artifact import Artifact
from edge.handover.state import is_state
from edge.host.counters import caveat
from edge.host.limits import format_size, memory_errors
from edge.run.beginning import Beginning
from edge.run.continuation import (
    continued_data,
    continued_position,
)
from edge.run.job import Job
from edge.run.listener import Listener
from edge.run.position import Position
from edge.run.result import FinetuneResult, result_of
from edge.run.session import Board, Session
from edge.run.training import FineTuning, Moment, Outcome
from edge.run.training_data import TrainingData
from edge.spelling import named

RECORD_FILE = "record.json"


def finetune(
    job: Job,
    stop: Callable[[], bool] = lambda: False,
    watch: Callable[[Moment], None] = lambda moment: None,
    say: Callable[[str], None] = lambda message: None,
    listener: Listener | None = None,
) -> FinetuneResult:
    """Fine-tune to the end or until `stop`. The state directory is complete whenever this returns or raises.

    `listener` is told when the first step comes and of every epoch.
    Raises BudgetError before training if nothing fits, or while training when the budget is hit.
    """
    board = Board()
    with holding(job.state) as locked:
        try:
            heard = say if locked else _unlocked(job.state, say)
            return _finetune(job, board, stop, watch, heard, listener or Listener())
        except BudgetError as error:
            if not is_state(job.state):
                raise
            whole = (
                f"the last saved state in {job.state} is whole: continue it with "
                f"{named('resume', True)} and a larger budget"
            )
            raise error.also(whole) from None


def _unlocked(state: Path, say: Callable[[str], None]) -> Callable[[str], None]:
    say(f"{state}: this file system grants no locks; see to it that one process at a time writes there")
    return say


def _finetune(
    job: Job,
    board: Board,
    stop: Callable[[], bool],
    watch: Callable[[Moment], None],
    say: Callable[[str], None],
    listener: Listener,
) -> FinetuneResult:
    """The same, alone in the state's directory."""
    begun = Beginning.of(job)
    task = begun.artifact.network.task
    if job.settings.drop_after and not task.of_classes:
        raise InputError(
            f"{named('drop_after')} {job.settings.drop_after}: drops samples whose class was never forgotten, and the "
            f"task is {task.name}; leave it out"
        )
    source = _source(job, begun.artifact, job.data)
    held = _source(job, begun.artifact, job.eval_data) if job.eval_data else None
    try:
        data, position, places = TrainingData.of(source, held, job.settings), None, None
        if begun.facts is not None:
            position = continued_position(job.state, begun.facts, job.settings)
            continued = continued_data(job.state, begun.facts, data, job.data)
            data, places = continued.data, continued.places
            if continued.said is not None:
                say(continued.said)
        request, engine = begun.asked(position, len(data.split.train))
        needs = data.needs(begun.artifact)
        with _pins_said(job):
            session = Session(board, begun.artifact, engine, request, needs, job.budget_bytes)
        with session:
            session.why = begun.why(session.why)
            say(_announce(session))
            for found in (source, held) if held is not None else (source,):
                for note in (*found.notes, *begun.artifact.sizes_note(found.one_size)):
                    say(note)
            if begun.start is not None:
                begun.start.begin(session)
                say(begun.start.describe())
            if held is None and source.test_indices is not None:
                say(f"held out are the {len(data.split.held_out)} samples that {job.data} marks as test")
            with memory_errors("fine-tuning"):  # whatever else asks for memory
                return _run(job, begun, session, data, position, places, stop, watch, listener)
    finally:
        source.close()
        if held is not None:
            held.close()


def _source(job: Job, artifact: Artifact, where: str) -> Source:
    """Data whose every image was decoded once, so that a damaged one is met before the run begins."""
    names, network = artifact.class_names, artifact.network
    return open_source(where, names, job.state, artifact.preprocess, job.unreadable, True, network.task, network.output)


@contextmanager
def _pins_said(job: Job) -> Iterator[None]:
    """Say of a budget that is too small for the plan of a state that another plan may be taken."""
    try:
        yield
    except BudgetError as error:
        if job.resume and not job.replan:
            raise error.also(f"the state pins its plan: {named('replan', True)} lets it take another") from None
        raise


def _announce(session: Session) -> str:
    plan, budget = session.plan, session.budget_bytes
    size = f" of a budget of {format_size(budget)}" if budget is not None else ""
    unknown = caveat(session.meter.reason, budget)
    lines = [f"engine {plan.engine} ({session.why}); planned peak {format_size(plan.peak_bytes)}{size}"]
    return "\n".join([*lines, *([unknown] if unknown else []), *plan.notes])


def _run(
    job: Job,
    begun: Beginning,
    session: Session,
    data: TrainingData,
    position: Position | None,
    places: np.ndarray | None,
    stop: Callable[[], bool],
    watch: Callable[[Moment], None],
    listener: Listener,
) -> FinetuneResult:
    choices, settings, artifact = session.plan.choices, job.settings, begun.artifact
    keys = data.source.keys()
    size, output = choices.batch_size, artifact.network.output
    batches = Batches(data.source, artifact.preprocess, artifact.shape, size, settings.seed, settings.augment, output)
    facts = {
        "artifact": artifact.identity(session.plan.engine),
        "engine": session.plan.engine,
        "choices": asdict(choices),
        "data": data.fingerprint(keys),
        "held_out_by": data.held_out_by,
        "class_names": list(artifact.class_names),
        "started_from": begun.origin(),
    }
    samples = SampleList.of(keys, data.split)
    run = FineTuning(session, batches, data.split, settings, job.state, facts, samples, listener)
    if position is not None and begun.facts is not None:
        more_epochs = position.finished and settings.epochs != begun.facts["settings"]["epochs"]
        run.resume(position, places, more_epochs)
    listener.begin()
    outcome = run.run(stop, watch)
    if outcome.saved:
        session.release()  # the record is written within what the engine leaves
        _write_record(job.state / RECORD_FILE, artifact, session, outcome, data)
    return result_of(job, session, outcome, data)


def _write_record(path: Path, artifact: Artifact, session: Session, outcome: Outcome, data: TrainingData) -> None:
    from edge.engines.board import read_board  # not before the end: until then a run need not hold their code
    from edge.report.record import write_record
    from edge.run.recording import make_record

    session.meter.enter("save")
    split = data.split
    write_record(make_record(artifact, session, outcome, len(split.train), len(split.held_out), read_board()), path)
