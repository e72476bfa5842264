"""What a run begins from: an artifact alone, a state that it continues, or a state whose weights it begins with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from edge.errors import InputError
from edge.handover.artifact import Artifact, open_artifact
from edge.plan.search import Request
from edge.run.continuation import Start, pinned_request, refuse_occupied, resumable_facts, same_artifact
from edge.run.job import Job
from edge.run.position import Position
from edge.run.rate import densest_sparsity
from edge.run.session import WROTE_STATE, continued_engine
from edge.spelling import named


@dataclass(frozen=True)
class Beginning:
    """The artifact, with what its run is continued by (`facts`) or a new one begins from (`start`), if anything."""

    job: Job
    artifact: Artifact
    facts: dict[str, Any] | None
    start: Start | None

    @classmethod
    def of(cls, job: Job) -> Beginning:
        """The beginning of a job; refuses to write over a state, and to continue one of another artifact."""
        artifact = open_artifact(job.artifact)
        if not job.resume:
            refuse_occupied(job.state)
            start = Start.of(artifact, job.optimizer_state, job.settings.mutate)
            return cls(job, artifact if start is None else start.defaults(artifact), None, start)
        if job.optimizer_state is not None:
            raise InputError(
                f"{named('optimizer_state')} is for a new run from a state; a resumed one keeps its own, leave it out"
            )
        facts = resumable_facts(job.state)
        same_artifact(job.state, facts, artifact)
        return cls(job, replace(artifact, state=None, facts=None), facts, None)

    def asked(self, position: Position | None, samples: int) -> tuple[Request, str]:
        """What the planner is asked, and of which engine, with so many samples to train on from a position on."""
        request, facts, settings = self.job.request(self.artifact), self.facts, self.job.settings
        trainable = facts["choices"]["trainable"] if facts is not None else request.trainable or "all"
        progress = 0.0 if position is None or not position.at_target else position.epoch / settings.epochs
        room = room_to_mutate(self.artifact, trainable, settings.mutate, progress)
        request = replace(request, densest_sparsity=room)
        engine = self.job.engine
        if facts is not None:
            densest = request.densest_sparsity
            request = replace(pinned_request(facts, request, self.job.replan), densest_sparsity=densest)
            engine = continued_engine(facts, engine, self.job.state)
        if self.start is not None:
            request, engine = self.start.request(request), self.start.engine(engine)
        return replace(request, last_batch=samples % request.batch_size), engine

    def why(self, why: str) -> str:
        """Why the engine was taken, where a state had no choice."""
        return why if self.facts is None and self.start is None else WROTE_STATE

    def origin(self) -> dict[str, Any] | None:
        """The state that the run began from, if any."""
        if self.facts is not None:
            return self.facts.get("started_from")
        return None if self.start is None else self.start.origin()


def room_to_mutate(artifact: Artifact, trainable: str, mutate: str, progress: float = 0.0) -> dict[str, float]:
    """The lowest sparsity that each weight comes to from a progress on; raises InputError where none can mutate."""
    targets = artifact.mutation_targets(trainable, mutate)
    if mutate != "none" and not targets:
        if not artifact.network.sparse_parameters() and any(layer["scheme"] for layer in artifact.manifest.layers):
            raise InputError(
                f"{named('mutate')} {mutate}: the sparse layers of {artifact.path} were made smaller or dense, "
                f"with no zeros left to move; leave {named('mutate')} out"
            )
        raise InputError(
            f"{named('mutate')} {mutate}: no sparse layer of {artifact.path} is trained; "
            f"train more of them with {named('trainable')}, or leave {named('mutate')} out"
        )
    return densest_sparsity(mutate, targets, progress)
