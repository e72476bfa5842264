"""Methods by name, and of one's own: what makes a schedule."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from mest.errors import InputError
from mest.own import failure, import_own, is_own
from mest.sparse.decimals import check_sparsity
from mest.sparse.schedule import (
    PAPER_EPOCHS,
    Bounds,
    Phase,
    Schedule,
    dense,
    em,
    ems,
    mutation_schedule,
    rigl,
    set_,
    static,
)

#: what makes a schedule from its epochs and `update_every_epochs`, and from bounds where it takes them
MethodFunction = Callable[..., "Schedule | Sequence[Phase]"]

METHODS: dict[str, MethodFunction] = {
    "em": em,
    "ems": ems,
    "set": set_,
    "rigl": rigl,
    "static": static,
    "dense": dense,
}


def register_method(function: MethodFunction) -> MethodFunction:
    """The function itself, now known to `make_schedule` by its name: usable as a decorator."""
    name = function.__name__.rstrip("_")
    if name in METHODS:
        raise InputError(f"method {name!r} is registered already; choose another name")
    METHODS[name] = function
    return function


def make_schedule(
    method: str | Schedule | Sequence[Phase] | MethodFunction | None,
    epochs: int = PAPER_EPOCHS,
    *,
    update_every_epochs: int = 5,
    lower_bound: Bounds | None = None,
    upper_bound: Bounds | None = None,
    decay_epochs: str | Sequence[int] | None = None,
) -> Schedule:
    """The schedule of a method: by name, by `module:NAME`, or one's own function, list of phases or schedule.

    Without a method the bounds tell EM from EM&S, as in the published scripts. Raises InputError.
    """
    explicit = {"lower_bound": lower_bound, "upper_bound": upper_bound, "decay_epochs": decay_epochs}
    given = {name: value for name, value in explicit.items() if value is not None}
    if method is None:
        return mutation_schedule(None, epochs, update_every_epochs, lower_bound, upper_bound, decay_epochs)
    found, name = find_method(method)
    if odd := [option for option in given if option not in bounds_taken(found)]:
        names = ", ".join(option.replace("_", " ") for option in odd)
        takers = " and ".join(taker for taker, function in METHODS.items() if set(odd) <= bounds_taken(function))
        raise InputError(f"method {name!r} has no {names}; they belong to {takers}")
    made = found
    if callable(found):
        try:
            made = found(epochs, update_every_epochs=update_every_epochs, **given)
        except InputError:
            raise
        except Exception as failed:  # it may be the user's code: whatever it raises is said in one line
            raise InputError(f"method {name!r}: {failure('making its schedule', failed)}") from failed
    schedule = made if isinstance(made, Schedule) else _of_phases(made, name, epochs, update_every_epochs)
    if (schedule.epochs, schedule.update_every_epochs) != (epochs, update_every_epochs):
        raise InputError(
            f"method {name!r} is for {schedule.epochs} epochs with a mutation every {schedule.update_every_epochs}; "
            f"asked for were {epochs} and {update_every_epochs}"
        )
    return schedule if name in METHODS else replace(schedule, method=name)


def find_method(method: str | Schedule | Sequence[Phase] | MethodFunction) -> tuple[Any, str]:
    """What a method is, and what runs and records call it. Raises InputError with the names that would have worked."""
    if isinstance(method, str):
        if method in METHODS:
            return METHODS[method], method
        if is_own(method):
            return import_own(f"method {method!r}", *method.split(":", 1)), method
        raise InputError(f"unknown method {method!r}; known: {', '.join(METHODS)}, and one's own as module:NAME")
    if isinstance(method, Schedule):
        return method, method.method
    return method, getattr(method, "__name__", "phases").rstrip("_")


def bounds_taken(method: object) -> set[str]:
    """Which of the explicit bounds a method takes."""
    if not callable(method):
        return set()
    return {"lower_bound", "upper_bound", "decay_epochs"} & inspect.signature(method).parameters.keys()


def _of_phases(made: object, name: str, epochs: int, update_every_epochs: int) -> Schedule:
    """The schedule of a list of phases, which hold for every layer. Raises InputError with all that is wrong."""
    if isinstance(made, str) or not isinstance(made, Sequence) or not all(isinstance(each, Phase) for each in made):
        raise InputError(
            f"method {name!r} gives {type(made).__name__}; a method is a mest.sparse.Schedule, a list of "
            "mest.sparse.Phase or a function of epochs and update_every_epochs that returns one of them"
        )
    phases, problems = [], []
    for place, phase in enumerate(made):
        where = f"phase {place}"
        prune_to, grow_to = (check_sparsity(value, where) for value in (phase.prune_to, phase.grow_to))
        if prune_to < grow_to:
            problems.append(f"{where} prunes to {phase.prune_to}, less than the {phase.grow_to} that it grows to")
        phases.append(Phase(int(phase.from_epoch), prune_to, grow_to))
    starts = [phase.from_epoch for phase in phases]
    if starts[:1] != [0] or sorted(set(starts)) != starts:
        listed = ", ".join(map(str, starts)) or "nowhere"
        problems.append(f"phases begin at {listed}; they must ascend, and the first must begin at 0")
    if phases and phases[-1].mutates:
        problems.append("the last phase must prune and grow to one sparsity, which the run ends at")
    if problems:
        raise InputError(f"method {name!r}: {'; '.join(problems)}")
    return Schedule(name, epochs, update_every_epochs, bounds=tuple(phases), score="magnitude+gradient")
