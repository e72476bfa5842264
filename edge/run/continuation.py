"""How a run begins where another one was left: the same run resumed, or a new one from a state's weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.data.sample_list import SampleList
from edge.errors import DamagedError, InputError
from edge.files.decode import decode
from edge.handover.artifact import Artifact
from edge.handover.state import is_state, last_generation, read_facts
from edge.plan.choices import OptimizerChoice
from edge.plan.search import Request
from edge.run.position import Position
from edge.run.session import Session, continued_engine, continued_request
from edge.run.settings import Settings
from edge.run.training_data import BY_SHARE, TrainingData
from edge.spelling import named

OPTIMIZER_STATES = ("fresh", "keep")
# What a new plan lets a resumed run choose anew.
REPLANNED = ("micro_batch", "recompute", "saved", "batch_norm", "threads")
_FREE = "save_every"  # the one setting that the result does not depend on


def resumable_facts(state: Path) -> dict[str, Any]:
    """What a state says about the run that it belongs to; raises InputError if no run of ours wrote it."""
    facts = read_facts(state)
    if "position" not in facts:
        raise InputError(
            f"{state}: was saved by a program of its own, not by a run; begin a new run from it: {anew(state)}"
        )
    facts["settings"] = asdict(decode(Settings, facts["settings"], f"{state}: settings"))
    position, epochs = Position.from_json(facts["position"]), facts["settings"]["epochs"]
    if position.epoch > epochs or (position.epoch == epochs and not position.finished):
        raise DamagedError(f"{state}: stands at epoch {position.epoch} of {epochs}; copy the whole state again")
    return facts


def anew(state: Path) -> str:
    """The command that begins a new run from a state."""
    return f"mest finetune {state} --data DATA --out OTHER"


def refuse_occupied(state: Path) -> None:
    """Raise InputError where a new run would write over a state."""
    if is_state(state):
        raise InputError(
            f"{state}: holds a state already; continue it with {named('resume', True)}, give another "
            f"{named('state')}, or begin a new run from "
            f"it: {anew(state)}"
        )


def pinned_settings(facts: Mapping[str, Any], replan: bool) -> dict[str, Any]:
    """What a resumed run keeps of its plan and optimizer, by setting."""
    choices = dict(facts["choices"])
    constants = dict(choices.pop("optimizer"))
    pinned = {**choices, **constants, "optimizer": constants.pop("kind")}
    return {name: value for name, value in pinned.items() if not (replan and name in REPLANNED)}


def refuse_other_settings(state: Path, given: Mapping[str, Any], facts: Mapping[str, Any], replan: bool) -> None:
    """Raise InputError for the first setting that a resumed run would ignore; `given` has those that were given."""
    pinned = pinned_settings(facts, replan)
    for name, value in given.items():
        if name in pinned and value != pinned[name]:
            _refuse(state, name, value, pinned[name], "" if replan or name not in REPLANNED else named("replan", True))


def _refuse(state: Path, setting: str, value: Any, pinned: Any, way: str = "") -> None:
    value, pinned = ("-".join(map(str, one)) if isinstance(one, tuple) else one for one in (value, pinned))
    raise InputError(
        f"{named(setting)} {value}: the state {state} was begun with {pinned}; leave it out, "
        f"{f'give {way}, ' if way else ''}or begin a new run from it: {anew(state)}"
    )


def continued_position(state: Path, facts: Mapping[str, Any], settings: Settings) -> Position:
    """Where the run goes on; raises InputError for a setting that differs from the run's own.

    A finished run takes more epochs than it has behind it.
    """
    position, pinned = Position.from_json(facts["position"]), facts["settings"]
    for name, value in asdict(settings).items():
        if name == _FREE or pinned.get(name) == value:
            continue
        if name != "epochs":
            _refuse(state, name, value, pinned.get(name))
        if not position.finished:
            _refuse(state, "epochs", value, f"{pinned['epochs']}, and has {position.epoch} behind it")
        if value <= position.epoch:
            raise InputError(
                f"{named('epochs')} {value}: the run in {state} has {position.epoch} epochs behind "
                f"it; give more, or none"
            )
    return position


def pinned_request(facts: Mapping[str, Any], request: Request, replan: bool) -> Request:
    """The request that leaves a resumed run the choices of its state; with `replan` only those its arrays depend on."""
    choices = facts["choices"]
    request = replace(continued_request(facts, request), batch_size=choices["batch_size"])
    return request if replan else replace(request, **{name: choices[name] for name in REPLANNED})


@dataclass(frozen=True)
class ContinuedData:
    """The data of a resumed run. Where they changed, `places` are the samples' numbers before, -1 for a new one."""

    data: TrainingData
    places: np.ndarray | None = None
    said: str | None = None


def continued_data(state: Path, facts: Mapping[str, Any], data: TrainingData, where: str) -> ContinuedData:
    """The data as the run has split them; what was held out stays so where samples were removed or added since.

    Raises InputError where less than half of the run's samples are still there, or others choose what is held out.
    """
    by = facts.get("held_out_by", data.held_out_by)
    if by != data.held_out_by:
        raise InputError(f"{state}: was begun with {by} held out, this is {data.held_out_by}; give what it began with")
    other = f"{state}: was begun with other data than {where}"
    way = f"give those, or begin a new run on these: {anew(state)}"
    if "samples" not in facts:  # a state of an earlier version
        if facts["data"] != data.fingerprint(None):
            raise InputError(f"{other} (other labels); {way}")
        return ContinuedData(data)
    before, keys = SampleList.read(state / facts["samples"]), data.source.keys()
    if facts["data"] == data.fingerprint(keys):
        return ContinuedData(data.with_split(before.split))
    places = before.places(keys)
    known = places >= 0
    kept = int(known.sum())
    removed, added = len(before.keys) - kept, len(keys) - kept
    if 2 * kept < len(before.keys):
        raise InputError(f"{other} ({kept} of its {len(before.keys)} samples are there, by name and size); {way}")
    if not removed and not added:
        raise InputError(f"{other} (the same files, other labels or another order); {way}")
    roles = SampleList.of(keys, data.split).roles
    if data.held_out_by == BY_SHARE:
        roles = np.where(known, before.roles[places], np.uint8(0))
    said = (
        f"the data changed since the run was left: {removed} samples removed, {added} added (a changed file is both); "
        "it goes on with those that are there, what was held out stays so, and from here on the weights are not those "
        "of an unchanged run"
    )
    return ContinuedData(data.with_split(SampleList(keys, roles).split), places, said)


@dataclass(frozen=True)
class Start:
    """A state whose weights a new run begins with; `keep` takes its optimizer state over too."""

    state: Path
    facts: Mapping[str, Any]
    keep: bool

    @classmethod
    def of(cls, artifact: Artifact, optimizer_state: str | None, mutate: str) -> Start | None:
        """The state that the artifact was opened by, or None; raises InputError for what cannot begin from it."""
        if optimizer_state not in (None, *OPTIMIZER_STATES):
            raise InputError(f"{named('optimizer_state')} {optimizer_state}: allowed are {', '.join(OPTIMIZER_STATES)}")
        if artifact.state is None:
            if optimizer_state is not None:
                raise InputError(
                    f"{named('optimizer_state')} {optimizer_state}: {artifact.path} is an artifact, "
                    f"which has none; leave it out"
                )
            return None
        facts = artifact.facts or {}
        position = Position.from_json(facts["position"]) if "position" in facts else None
        if position is not None and not position.at_target and mutate == "none":
            raise InputError(
                f"{artifact.state}: was stopped in the midst of EM&S, denser than its target; finish that run with "
                f"{named('resume', True)}, or give {named('mutate')} em or ems here, so that this one "
                f"ends at the target"
            )
        if facts.get("off_target") and mutate == "none":  # brought home, without a position
            raise InputError(
                f"{artifact.state}: was brought home in the midst of EM&S, denser than its target; finish that run and "
                f"bring it home again, or give {named('mutate')} em or ems here, so that this one ends at the target"
            )
        return cls(artifact.state, facts, optimizer_state == "keep")

    def defaults(self, artifact: Artifact) -> Artifact:
        """The artifact whose optimizer and label smoothing are the state's where its optimizer state is kept."""
        choices = self.facts["choices"]
        manifest = artifact.manifest
        if self.keep:
            smoothing = choices["label_smoothing"]
            manifest = replace(manifest, optimizer=dict(choices["optimizer"]), label_smoothing=smoothing)
        return replace(artifact, state=None, facts=None, manifest=manifest)

    def request(self, request: Request) -> Request:
        """The request with room for what the state holds; raises InputError where a kept optimizer would not fit."""
        choices = self.facts["choices"]
        if self.keep:
            written = OptimizerChoice(**choices["optimizer"])
            here = request.optimizer
            same = (written.kind, written.state_per_weight) == (here.kind, here.state_per_weight)
            trainable = request.trainable or choices["trainable"]
            if not same or trainable != choices["trainable"]:
                raise InputError(
                    f"{named('optimizer_state')} keep: {self.state} holds the state of {written.kind} with momentum "
                    f"{written.momentum:g} for trainable {choices['trainable']}; give the same, or "
                    f"{named('optimizer_state')} "
                    "fresh"
                )
            request = replace(request, trainable=trainable)
        position = self.facts.get("position")
        denser = {} if position is not None and position["at_target"] else choices["densest_sparsity"]
        densest = dict(request.densest_sparsity)
        for name, sparsity in denser.items():
            densest[name] = min(sparsity, densest.get(name, 1.0))
        return replace(request, densest_sparsity=densest)

    def engine(self, asked: str) -> str:
        """The engine that wrote the state."""
        return continued_engine(self.facts, asked, self.state)

    def begin(self, session: Session) -> None:
        """Put the state's weights into an open session; raises DamagedError where they do not fit."""
        session.restore(self.state, weights_alone=not self.keep)

    def describe(self) -> str:
        """What is begun with, for a person."""
        optimizer = "kept" if self.keep else "fresh"
        return f"begins with the weights of {self.state}; optimizer state {optimizer}, epochs and schedule anew"

    def origin(self) -> dict[str, Any]:
        """Where the weights come from, as the new run's states record it."""
        return {"state": str(self.state.resolve()), "generation": last_generation(self.state)}


def same_artifact(state: Path, facts: Mapping[str, Any], artifact: Artifact) -> None:
    """Raise DamagedError where a state belongs to another artifact."""
    if not artifact.began(facts["artifact"]):
        raise DamagedError(f"{state}: was trained from another artifact than {artifact.path}")
