"""`mest compile` without its command line: open, plan for a process without Python, write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edge.compiled.mutating import Mutating
from edge.compiled.plan import Facts, write_plan
from edge.compiled.planned import CompiledPlanned, with_pieces
from edge.data.batches import refuse_augmenting_numbers
from edge.data.open import open_source
from edge.engines.choice import supports
from edge.engines.native.engine import NativeEngine
from edge.errors import BudgetError, InputError
from edge.handover.artifact import Artifact, open_artifact
from edge.handover.state import stored_tensors
from edge.host.limits import format_size
from edge.libmest import plan_file
from edge.plan.process import DataNeeds, MemoryPlan
from edge.plan.search import Request, search
from edge.run.beginning import room_to_mutate
from edge.run.continuation import Start
from edge.run.session import HARNESS
from edge.run.settings import Settings
from edge.run.training_data import TrainingData
from edge.spelling import named

ENGINE = "native"


@dataclass(frozen=True)
class CompileJob:
    """What to compile into which file, under which budget. `data` is what it will be trained on, where that is known.

    `request` says what the planner is asked once the artifact is known, whose optimizer is the default.
    """

    artifact: Path
    out: Path
    settings: Settings
    request: Callable[[Artifact], Request]
    budget_bytes: int | None = None
    data: str | None = None
    picture_bytes: int = 0  # for decoding one, where the arena is smaller


@dataclass(frozen=True)
class CompileResult:
    """The plan that was compiled, and the size of its file."""

    out: Path
    plan: MemoryPlan
    sizes: tuple[int, ...]  # of the pieces that there are programs for
    nbytes: int


def compile_plan(job: CompileJob) -> CompileResult:
    """Plan for a process without Python and write the compiled plan; the weights are an artifact's or a state's.

    Raises InputError for what such a process cannot do, BudgetError where nothing fits.
    """
    most = plan_file.CONSTANTS["MOST_MILESTONES"]
    if len(job.settings.milestones) > most:
        raise InputError(
            f"{named('milestones')}: {len(job.settings.milestones)} epochs; a compiled plan has up to {most}"
        )
    artifact = open_artifact(job.artifact)
    task = artifact.network.task
    if not task.of_classes:
        raise InputError(
            f"{job.artifact}: is trained for {task.name}, and a compiled plan for one class of many alone; "
            "use mest finetune"
        )
    start = Start.of(artifact, None, job.settings.mutate)
    state = artifact.state
    if start is not None:
        artifact = start.defaults(artifact)
    holds, reason = supports(ENGINE, artifact)
    if not holds:
        raise InputError(reason)
    refuse_augmenting_numbers(artifact.preprocess, job.settings.augment)
    _refuse_picture_memory(artifact, job.picture_bytes)
    request = job.request(artifact)
    room = room_to_mutate(artifact, request.trainable or "all", job.settings.mutate)
    request = replace(request, densest_sparsity=room)
    if start is not None:
        request = start.request(request)
    samples, last_batch = _counted(job, artifact, request.batch_size)
    request = replace(request, last_batch=last_batch)
    found = search(
        CompiledPlanned(artifact, samples, job.settings.drop_after > 0, job.picture_bytes),
        request,
        DataNeeds(),
        job.budget_bytes,
    )
    plan, blueprint = found.plan, found.prepared.blueprint
    if job.data is None:  # whatever an epoch ends in, and whatever is collected later
        blueprint = with_pieces(blueprint, range(1, plan.choices.micro_batch))
        plan = replace(plan, footprint=replace(plan.footprint, arena=blueprint.footprint.arena))
        if job.budget_bytes is not None and plan.peak_bytes > job.budget_bytes:
            raise BudgetError(
                f"memory budget {format_size(job.budget_bytes)}: micro-batches of some size need "
                f"{format_size(plan.peak_bytes)}; give that, or {named('data')}, so that only those that it has are "
                "compiled"
            )
    engine = NativeEngine(blueprint)
    try:
        if state is not None:
            engine.restore_weights(stored_tensors(state).without(HARNESS))
        facts = Facts(
            artifact.path.name,
            artifact.identity(ENGINE),
            artifact.class_names,
            artifact.preprocess,
            artifact.shape,
            artifact.sparsity(engine.sparsity()),
        )
        targets = artifact.mutation_targets(plan.choices.trainable)
        mutating = Mutating.of(engine, job.settings.mutate, targets)
        head = write_plan(job.out, engine, plan, job.settings, job.budget_bytes, facts, mutating, job.picture_bytes)
    finally:
        engine.close()
    return CompileResult(job.out, plan, tuple(sorted(blueprint.training)), head.nbytes)


def _refuse_picture_memory(artifact: Artifact, nbytes: int) -> None:
    if nbytes and not artifact.preprocess.takes_images:
        raise InputError(f"{named('picture_memory')}: {artifact.path} takes numbers, not pictures; leave it out")
    most = 1 << plan_file.CONSTANTS["MOST_BLOCK_BITS"]
    if nbytes > most:
        raise InputError(
            f"{named('picture_memory')} {format_size(nbytes)}: a compiled plan has up to {format_size(most)}"
        )


def _counted(job: CompileJob, artifact: Artifact, batch_size: int) -> tuple[int, int]:
    """Samples of the data, and of the smaller batch that ends an epoch; of unknown data none, and a batch but one."""
    if job.data is None:
        return 0, batch_size - 1
    source = open_source(job.data, artifact.class_names, job.out.parent, artifact.preprocess)
    try:
        split = TrainingData.of(source, None, job.settings).split
        return len(source.labels), len(split.train) % batch_size
    finally:
        source.close()
