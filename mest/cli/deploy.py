"""`mest deploy`: install on boards over ssh, fine-tune there, bring the result home."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mest.cli import deploy_shown, over_ssh
from mest.cli.command import Command as Base
from mest.cli.command import Context, Stopped
from mest.cli.effects import Effect, refuse_idle
from mest.cli.remote_tuning import fine_tuning
from mest.cli.spelling import option

if TYPE_CHECKING:
    from export.deploy.channel import Channel
    from export.deploy.fleet import Listed
    from export.deploy.order import Order
    from export.deploy.rollout import Stage

EFFECTS = (
    Effect(("wheels",), lambda args: args.source.is_dir(), "a bundle has its wheels; leave it out"),
    Effect(("check",), lambda args: not args.rollback, "says what a deployment would do; leave out --rollback"),
    Effect(("health_data",), lambda args: not args.rollback, "checks an installation; leave out --rollback"),
    Effect(("health_drop",), lambda args: args.health_data is not None, "needs --health-data"),
    Effect(("group",), lambda args: args.board_list is not None, "applies to a list of boards; give --boards FILE"),
)


class Command(Base):
    """Install an artifact or a bundle on boards over ssh, fine-tune there, and bring state, record and report home.

    mest deploy ART BOARD... -- finetune --data photos --memory-budget 64MiB [OPTIONS OF FINETUNE]

    A board needs only sshd and Python 3.10 or newer. The system's ssh is used, with its keys, configuration and jump
    hosts; it never prompts. Only missing files are copied, and the board makes the plan before anything is activated.
    The run continues if the connection is lost: repeat the same command to attach, continue or fetch the results.
    Without a command after --, it only installs. --data board:PATH names data on the board.
    """

    name = "deploy"
    takes_command = True

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.usage = "mest deploy [OPTIONS] ART|BUNDLE BOARD [BOARD ...]|--boards FILE [-- finetune OPTIONS]"
        parser.add_argument("source", type=Path, metavar="ART|BUNDLE", help="what 'mest export' or 'mest bundle' wrote")
        parser.add_argument("boards", nargs="+", metavar="BOARD", help="a host as ssh takes it")
        several = parser.add_argument_group("many boards")
        several.add_argument(
            "--boards",
            dest="board_list",
            type=Path,
            action=_InsteadOfBoards,
            metavar="FILE",
            help="a YAML list of boards and groups, instead of BOARD",
        )
        several.add_argument(
            "--stage",
            metavar="1,10%,100%",
            help="boards of each stage; a stage waits for the one before, and does not start if that failed",
        )
        over_ssh.add_several(several)
        parser.add_argument("--check", action="store_true", help="show what would be done, and change nothing")
        parser.add_argument("--rollback", action="store_true", help="activate the previous version again")
        parser.add_argument(
            "--out",
            type=Path,
            default=Path("boards"),
            metavar="DIR",
            help="folder for the results, one subfolder per board (default boards)",
        )
        parser.add_argument(
            "--wheels", type=Path, metavar="DIR", help="take every wheel from this folder, as in mest bundle"
        )
        parser.add_argument(
            "--health-data",
            metavar="DATA",
            help="held-out samples on which a version must not be worse than the active one",
        )
        parser.add_argument(
            "--health-drop",
            type=float,
            default=0.0,
            metavar="SHARE",
            help="how much worse it may be: 0.01 is one point (default 0)",
        )
        parser.add_argument(
            "--resume-on-boot",
            action=argparse.BooleanOptionalAction,
            help="resume the run whenever the board restarts, until it has ended (default: leave the board's setting)",
        )
        over_ssh.add_connection(parser)

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from edge.errors import InputError
        from export.deploy.fleet import stages
        from export.deploy.overview import write_overview

        refuse_idle(args, EFFECTS)
        if args.resume_on_boot is not None and not args.words:
            raise InputError(
                f"{option('resume_on_boot', args.resume_on_boot)}: applies to a run; give -- finetune OPTIONS"
            )
        listed = _listed(args)
        sizes = stages(args.stage, len(listed))
        channels = over_ssh.channels(listed, args)
        with tempfile.TemporaryDirectory(prefix="mest-deploy-") as scratch:
            order = self._order(args, context, Path(scratch))
            found = _each(channels, sizes, order, args, context)
        boards = _outcomes(found)
        failed = [one["exit_code"] for one in boards.values() if one["exit_code"]]
        tuned = order.command and not (args.check or args.rollback)
        return {
            "boards": boards,
            "list": None if args.board_list is None else str(args.board_list),
            "stages": [
                {"boards": stage.boards, "failed": stage.failed, "not_begun": stage.not_begun} for stage in found
            ],
            "page": str(write_overview(boards, args.out)) if tuned else None,
            "exit_code": failed[0] if failed else 0,
        }

    def _order(self, args: argparse.Namespace, context: Context, scratch: Path) -> Order:
        from export.deploy.data import read_data
        from export.deploy.order import HEALTH, Order
        from export.deploy.packages import Packages

        tuning = fine_tuning(args.words)
        health = {} if args.health_data is None else {HEALTH: (args.health_data, read_data(args.health_data))}
        packages = Packages(args.source, args.wheels, scratch, context.say)
        return Order(
            package_for=packages,
            fixed=packages.fixed,
            command=tuning.command,
            plan=tuning.plan,
            data={**tuning.data, **health},
            budget_bytes=tuning.budget_bytes,
            health_drop=args.health_drop,
            on_boot=args.resume_on_boot,
            out=args.out,
            check=args.check,
        )

    def show(self, result: dict[str, Any]) -> str:
        if result["list"] is not None:
            return deploy_shown.lines(result)
        return "\n\n".join(deploy_shown.block(one) for one in result["boards"].values())


class _InsteadOfBoards(argparse.Action):
    """A list of boards, given in the place of those that are otherwise named."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, value: Any, option: Any = None
    ) -> None:
        setattr(namespace, self.dest, value)
        for action in parser._actions:
            if action.dest == "boards":
                action.required = False


def _listed(args: argparse.Namespace) -> list[Listed]:
    """The boards, each with a folder of its own for its results."""
    from edge.errors import InputError
    from export.deploy.fleet import Listed, read_boards
    from export.deploy.home import folder_of
    from export.deploy.overview import PAGE

    if args.board_list is not None and args.boards:
        raise InputError(f"{args.boards[0]}: name boards or give a list of them by --boards, not both")
    if args.board_list is not None:
        listed = read_boards(args.board_list, args.group or ())
    else:
        if len(set(args.boards)) < len(args.boards):
            raise InputError("a board is named twice; name each once")
        listed = [Listed(board, board) for board in args.boards]
    if len({PAGE, *(folder_of(one.name) for one in listed)}) <= len(listed):
        raise InputError(
            "two boards would write into the same folder; give one of them another name in the ssh configuration"
        )
    return listed


def _each(
    channels: dict[str, Channel], sizes: Sequence[int], order: Order, args: argparse.Namespace, context: Context
) -> list[Stage]:
    """What became of the boards, stage after stage."""
    from export.deploy.deployment import Deployment
    from export.deploy.rollout import roll_out

    stopped = over_ssh.closing(channels, context)

    def serve(name: str) -> dict[str, Any]:
        def say(text: str) -> None:
            context.say(f"{name}: {text}")

        one = Deployment(channels[name], order, say)
        return over_ssh.outcome(name, one.roll_back if args.rollback else one.run, say, one.facts)

    found = []
    heed = args.stage is not None
    for stage in roll_out(list(channels), sizes, serve, at_once=args.at_once, heed=heed, stopped=stopped):
        found.append(stage)
        if stage.failed and heed:
            context.say(
                f"{', '.join(stage.failed)} failed in stage {len(found)} of {len(sizes)}; no other board starts"
            )
    if stopped():
        raise Stopped("detached from the boards; their runs continue: repeat the command to attach")
    return found


def _outcomes(found: list[Stage]) -> dict[str, Any]:
    """The outcome of every board by its name, those included that did not begin."""
    boards: dict[str, Any] = {}
    culprits: list[str] = []
    for number, stage in enumerate(found, 1):
        culprits = culprits or [f"{name} failed in stage {number}" for name in stage.failed]
        for name in stage.boards:
            never = {"board": name, "not_begun": "; ".join(culprits), "exit_code": None}
            boards[name] = stage.served.get(name, never)
    return boards
