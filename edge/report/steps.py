"""The steps of a plan as every viewer shows them: whose they are, which way they run, and when."""

from __future__ import annotations

from dataclasses import dataclass

from edge.report.record import Record

UNTIMED_MS = 1.0  # the length of a step where no times were measured
DIRECTIONS = ("forward", "recomputed", "backward", "update")
_ENDINGS = (" gradient", " statistics", " again", " narrowed", " widened", " backward")


@dataclass(frozen=True)
class Step:
    """A step of the plan: its name, the operator it belongs to, its direction, when it begins and how long it takes."""

    name: str
    layer: str
    direction: str
    start_ms: float
    milliseconds: float

    @property
    def modules(self) -> tuple[str, ...]:
        """The path of its module, from the outside in: ("layer1", "0", "conv1")."""
        return tuple(part for part in self.layer.replace("/", ".").split(".") if part) or (self.layer,)


@dataclass(frozen=True)
class Course:
    """All steps in order; `source` says how their times were measured, or that they were not (`timed` False)."""

    steps: tuple[Step, ...]
    timed: bool
    source: str


def course(record: Record) -> Course:
    """The steps of a record's plan. Without times of operators every step is drawn `UNTIMED_MS` long."""
    names, profile = record.plan.steps or ("whole step",), record.profile
    costs = profile.operators if profile is not None and len(profile.operators) == len(names) else ()
    steps, start = [], 0.0
    for place, name in enumerate(names):
        taken = costs[place].milliseconds if costs else UNTIMED_MS
        layer, direction = (costs[place].name, costs[place].direction) if costs else (layer_of(name), _guess(name))
        steps.append(Step(name, layer, direction, start, taken))
        start += taken
    if costs and profile is not None:
        return Course(tuple(steps), True, f"measured: {profile.source[:1].lower()}{profile.source[1:]}")
    return Course(tuple(steps), False, "planned order: operators were not timed, and every step is drawn 1 ms long")


def layer_of(step: str) -> str:
    """The operator of the network that a step of the plan belongs to: "conv1 gradient slopes" is conv1's."""
    if step.startswith("zero"):
        return step
    for ending in _ENDINGS:
        step = step.partition(ending)[0]
    return step


def direction_of(step: str, op: str) -> str:
    """Whether a step of the native engine runs forward, recomputed, backward or in the update."""
    if op in ("zero", "update"):
        return "update"
    if "_grad" in op or op == "widen":
        return "backward"
    return "recomputed" if step.removesuffix(" narrowed").endswith(" again") else "forward"


def _guess(step: str) -> str:
    """The direction of a step by its name alone."""
    if step.startswith(("zero", "update")):
        return "update"
    if " gradient" in step or step.endswith((" backward", " widened")):
        return "backward"
    return direction_of(step, "")
