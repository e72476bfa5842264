"""`mest deploy`: install on boards over ssh, fine-tune there, bring the result home."""

from __future__ import annotations

import argparse
import tempfile
import threading
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mest.cli import within_budget
from mest.cli.command import Command as Base
from mest.cli.command import Context, Stopped
from mest.cli.effects import Effect, refuse_idle
from mest.cli.spelling import words_of

if TYPE_CHECKING:
    from export.deploy.channel import Channel
    from export.deploy.deployment import Order

ART, STATE = "ART", "\0STATE"  # stand for what the boards put there
# What deploy itself decides, or gives in a way of its own.
_OURS = ("artifact", "out", "resume", "replan", "data", "eval_data", "json", "quiet", "verbose", "help")
EFFECTS = (
    Effect(("wheels",), lambda args: args.source.is_dir(), "a bundle has its wheels; leave it out"),
    Effect(("check",), lambda args: not args.rollback, "says what a deployment would do; leave out --rollback"),
)


class Command(Base):
    """Install an artifact or a bundle on boards over ssh, fine-tune there, and bring state, record and report home.

    mest deploy ART BOARD... -- finetune --data photos --memory-budget 64MiB [OPTIONS OF FINETUNE]

    A board needs sshd and Python 3.10 or newer, nothing else. The system's ssh is used, with its keys, configuration
    and jump hosts, and never asks anything. Only what is missing is copied; the plan is made on the board before
    anything is activated; the run goes on when the connection does not. Call the same again to attach, go on or fetch.
    Without a command it installs. --data board:PATH names data that lie on the board.
    """

    name = "deploy"
    takes_command = True

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.usage = "mest deploy [OPTIONS] ART|BUNDLE BOARD [BOARD ...] [-- finetune OPTIONS]"
        parser.add_argument("source", type=Path, metavar="ART|BUNDLE", help="what 'mest export' or 'mest bundle' wrote")
        parser.add_argument("boards", nargs="+", metavar="BOARD", help="a host as ssh takes it")
        parser.add_argument("--check", action="store_true", help="say what would be done, and change nothing")
        parser.add_argument(
            "--rollback", action="store_true", help="make the version before the active one active again"
        )
        parser.add_argument(
            "--out",
            type=Path,
            default=Path("boards"),
            metavar="DIR",
            help="a folder of results per board (default boards)",
        )
        parser.add_argument(
            "--wheels", type=Path, metavar="DIR", help="take every wheel from here, as mest bundle does"
        )
        parser.add_argument("--place", default="~/.mest", metavar="DIR", help="where on the board (default ~/.mest)")
        parser.add_argument("--board-python", default="python3", metavar="PYTHON", help="its Python (default python3)")
        parser.add_argument(
            "--ssh-config", type=Path, metavar="FILE", help="configuration of ssh, instead of the user's"
        )

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from edge.errors import InputError
        from export.deploy.channel import Channel
        from export.deploy.home import folder_of

        refuse_idle(args, EFFECTS)
        if len(set(args.boards)) < len(args.boards):
            raise InputError("a board is named twice; name each once")
        if len({folder_of(board) for board in args.boards}) < len(args.boards):
            raise InputError("two boards would bring home into one folder; give one of them another name, as ssh can")
        ssh = ["ssh", *(["-F", str(args.ssh_config)] if args.ssh_config else [])]
        channels = [Channel(board, args.place, args.board_python, ssh) for board in args.boards]
        with tempfile.TemporaryDirectory(prefix="mest-deploy-") as scratch:
            order = self._order(args, context, Path(scratch))
            found = _each(channels, order, args.rollback, context)
        failed = [one["exit_code"] for one in found if one["exit_code"]]
        return {"boards": {one["board"]: one for one in found}, "exit_code": failed[0] if failed else 0}

    def _order(self, args: argparse.Namespace, context: Context, scratch: Path) -> Order:
        from export.deploy.deployment import Order

        command, plan, data, budget = _fine_tuning(args.words)
        return Order(
            package_for=_Packages(args, context, scratch),
            fixed=not args.source.is_dir(),
            command=command,
            plan=plan,
            data=data,
            budget_bytes=budget,
            out=args.out,
            check=args.check,
        )

    def show(self, result: dict[str, Any]) -> str:
        return "\n\n".join(_shown(one) for one in result["boards"].values())


class _Packages:
    """The package for each kind of board: read once from a bundle, or made once for a kind."""

    def __init__(self, args: argparse.Namespace, context: Context, scratch: Path) -> None:
        from edge.errors import InputError
        from export.deploy.package import read_package

        if not args.source.exists():
            raise InputError(
                f"{args.source}: no such artifact or bundle; give what 'mest export' or 'mest bundle' wrote"
            )
        self._args = args
        self._say = context.say
        self._scratch = scratch
        self._made: dict[tuple[str, str], Any] = {}
        self._making = threading.Lock()
        self._read = None if args.source.is_dir() else read_package(args.source)

    def __call__(self, target: Any, python: str) -> Any:
        from export.deploy.package import make_package

        if self._read is not None:
            return self._read
        with self._making:
            key = (target.name, python)
            if key not in self._made:
                self._say(f"gathering the wheels of {target.name}, Python {python}")
                place = self._scratch / f"{target.name}-{python}"
                self._made[key] = make_package(self._args.source, target, python, self._args.wheels, place)
            return self._made[key]


def _fine_tuning(words: list[str]) -> tuple[list[str], list[str], dict[str, Any], int | None]:
    """The words of fine-tuning and of its plan, its data, and its budget in bytes.

    Raises InputError for another command, for options that are none of its, and for those that deploy decides.
    """
    from edge.errors import InputError
    from export.deploy.data import read_data
    from mest.cli import build_parser, numbers_outside

    if not words:
        return [], [], {}, None
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
    data = {name: (place, read_data(place)) for name, place in where.items()}
    plan = [*words_of(args, {*unplanned, *_OURS}), "--json"]
    return ["finetune", *words_of(args, _OURS)], plan, data, within_budget.budget_bytes(args)


def _each(channels: list[Channel], order: Order, rollback: bool, context: Context) -> list[dict[str, Any]]:
    """What became of each board: side by side, and none waits for another or fails with it."""
    found: dict[str, dict[str, Any]] = {}

    def one(channel: Channel) -> None:
        found[channel.board] = _one(channel, order, rollback, lambda text: context.say(f"{channel.board}: {text}"))

    # Each in a copy of this context: messages are spelled there as they are here.
    contexts = [copy_context() for _ in channels]
    threads = [
        threading.Thread(target=here.run, args=(one, channel), daemon=True)
        for here, channel in zip(contexts, channels, strict=True)
    ]
    for thread in threads:
        thread.start()
    stopped = False
    for thread in threads:
        while thread.is_alive():
            thread.join(0.1)
            if context.stop() and not stopped:
                stopped = True
                for channel in channels:
                    channel.close()
    if stopped:
        raise Stopped("let go of the boards; what runs there goes on: call the same again to attach")
    return [found[channel.board] for channel in channels]


def _one(channel: Channel, order: Order, rollback: bool, say: Any) -> dict[str, Any]:
    """What became of one board; what ended it is told and kept in `refused`."""
    from export.deploy.deployment import Deployment

    deployment = Deployment(channel, order, say)
    try:
        return deployment.roll_back() if rollback else deployment.run()
    except Exception as error:
        code = getattr(error, "exit_code", 2 if isinstance(error, OSError) else None)
        if code is None:
            raise
        say(str(error))
        return {**deployment.facts, "refused": str(error), "exit_code": code}


def _shown(one: dict[str, Any]) -> str:
    size, result, plan = within_budget.size, one.get("result") or {}, one.get("plan") or {}
    accuracy = None
    if result.get("accuracy_after") is not None and result.get("accuracy_before") is not None:
        accuracy = f"{result['accuracy_before']:.1%} before, {result['accuracy_after']:.1%} after"
    ended = one.get("ended") or {}
    rows: list[tuple[str, Any]] = [
        ("board", one["board"]),
        ("ended", one.get("refused") or (f"exit code {ended['code']}" if ended.get("code") else None)),
        ("active", one.get("active") or one.get("active_before")),
        ("would install", one.get("would_install")),
        ("to copy", size(one["to_copy_bytes"]) if one.get("would_install") else None),
        ("copied", size(one["copied_bytes"]) if "copied_bytes" in one else None),
        ("planned peak", None if "refused" in plan or not plan else size(plan["planned_peak_bytes"])),
        ("measured peak", size(result.get("measured_peak_bytes"), result.get("measured_reason")) if result else None),
        ("accuracy", accuracy),
        ("home", one.get("home")),
        ("report", one.get("report")),
    ]
    return within_budget.table(rows)
