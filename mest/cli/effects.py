"""What options need beside them to have an effect: one that would do nothing as it is given is refused by name."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from mest.cli.spelling import flag

Test = Callable[[argparse.Namespace], bool]


@dataclass(frozen=True)
class Effect:
    """Options, by their attribute's name, that do something only where `acts`; `why` says what they need otherwise."""

    options: tuple[str, ...]
    acts: Test
    why: str


def given(args: argparse.Namespace) -> dict[str, argparse.Action]:
    """The options of a command that were given another value than their default, by their attribute's name."""
    return {
        action.dest: action
        for action in args.parser._actions
        if action.option_strings and getattr(args, action.dest, action.default) != action.default
    }


def refuse_idle(args: argparse.Namespace, effects: tuple[Effect, ...]) -> None:
    """Raise InputError with every given option that would do nothing, and what it needs."""
    from edge.errors import InputError

    found = given(args)
    problems = []
    for effect in effects:
        idle = [flag(found[name]) for name in effect.options if name in found]
        if idle and not effect.acts(args):
            problems.append(f"{', '.join(idle)}: {effect.why}")
    if problems:
        raise InputError("; ".join(problems))
