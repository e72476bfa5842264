"""How the command line spells the settings that the libraries know by their fields."""

from __future__ import annotations

import argparse
from collections.abc import Container

# Where the option is not the field with dashes; `state` is the folder that a run writes its states to.
_OPTIONS = {
    "learning_rate": "lr",
    "schedule": "lr-scheduler",
    "milestones": "lr-milestones",
    "gamma": "lr-gamma",
    "state": "out",
    "contents": "for",
    "restore_every_epochs": "restore-every",
    "ordered": "sorting-file",
    "unchecked": "ranking-unchecked",
    "mutate_every": "mutate-every-steps",
}
_FIELDS = {option.replace("-", "_"): field for field, option in _OPTIONS.items()}


def option(setting: str, value: bool | None = None) -> str:
    """The option of a setting: --micro-batch, or --no-nesterov for a switch that is turned off."""
    name = _OPTIONS.get(setting, setting.replace("_", "-"))
    return f"--no-{name}" if value is False else f"--{name}"


def setting(name: str) -> str:
    """The setting of an option that argparse keeps under a name."""
    return _FIELDS.get(name, name)


def flag(action: argparse.Action) -> str:
    """An option of a parser as messages spell it: the first of its long names, which the help shows first."""
    return next((name for name in action.option_strings if name.startswith("--")), action.option_strings[0])


def words_of(args: argparse.Namespace, leave_out: Container[str]) -> list[str]:
    """The options that were given to a command, as a person would type them; without those kept under these names."""
    words = []
    for action in args.parser._actions:
        value = getattr(args, action.dest, None)
        given = value not in (None, action.default) and (value or action.dest != "seed")
        if given and action.option_strings and action.dest not in leave_out:
            # Of --nesterov and --no-nesterov, say; elsewhere the oldest name, which every version takes.
            spelling = action.option_strings[0 if value is True else -1]
            words += [spelling, *([] if action.nargs == 0 else [str(value)])]
    return words
