"""The fine-tuning that `mest deploy` has boards run: the words after `--`, parsed here as they will be there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mest.cli import within_budget
from mest.cli.spelling import words_of

if TYPE_CHECKING:
    from export.deploy.data import Data

ART, STATE = "ART", "\0STATE"  # stand for what the boards put there
# What deploy itself decides, or gives in a way of its own.
_OURS = ("artifact", "out", "resume", "replan", "data", "eval_data", "json", "quiet", "verbose", "help")


@dataclass(frozen=True)
class Tuning:
    """The command in words, without artifact, data and state; the words of `mest plan` for it; data by their option.

    Each of the data is what was given and, unless a board has it, what was read.
    """

    command: tuple[str, ...]
    plan: tuple[str, ...]
    data: dict[str, tuple[str, Data | None]]
    budget_bytes: int | None


def fine_tuning(words: list[str]) -> Tuning:
    """What the words ask for; nothing if there are none.

    Raises InputError for another command, for options that are none of its, and for those that deploy decides.
    """
    from edge.errors import InputError
    from export.deploy.data import read_data
    from mest.cli import build_parser, numbers_outside

    if not words:
        return Tuning((), (), {}, None)
    if words[0] != "finetune":
        raise InputError(f"{words[0]}: boards run finetune; give -- finetune --data DATA, or nothing to install alone")
    parser = build_parser("finetune")
    args, unknown = parser.parse_known_args(["finetune", ART, "--out", STATE, *words[1:]])
    if unknown:
        args.parser.refuse_unknown(unknown)
    if wrong := numbers_outside(args):
        raise InputError("; ".join(wrong))
    given = [name for name, changed in (("--out", str(args.out) != STATE), ("--resume", args.resume)) if changed]
    if given:
        raise InputError(f"{given[0]}: is decided by deploy, which goes on where a run was left; leave it out")
    plan_parser = next(action for action in build_parser("plan")._actions if action.dest == "command").choices["plan"]  # type: ignore[index, call-overload, union-attr]
    planned = {action.dest for action in plan_parser._actions}
    unplanned = {action.dest for action in args.parser._actions} - planned
    where = {name: getattr(args, name) for name in ("data", "eval_data") if getattr(args, name) is not None}
    return Tuning(
        command=("finetune", *words_of(args, _OURS)),
        plan=(*words_of(args, {*unplanned, *_OURS}), "--json"),
        data={name: (place, read_data(place)) for name, place in where.items()},
        budget_bytes=within_budget.budget_bytes(args),
    )
