"""What a run of fine-tuning is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.handover.artifact import Artifact
from edge.plan.search import Request
from edge.run.settings import Settings


@dataclass(frozen=True)
class Job:
    """What to fine-tune, with what, into which state, under which budget. `resume` continues the state.

    `request` says what the planner is asked once the artifact is known, whose optimizer is the default.
    `optimizer_state` ("fresh" or "keep") is for an artifact that is a state: a new run begins with its weights.
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
    unreadable: str = "refuse"  # or "skip": what becomes of images that cannot be read
    optimizer_state: str | None = None
