"""What the commands for boards over ssh share: how boards are reached, and what becomes of one that is not."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mest.cli.command import Context

if TYPE_CHECKING:
    from export.deploy.channel import Channel
    from export.deploy.fleet import Listed

AT_ONCE = 8


def add_connection(parser: argparse.ArgumentParser) -> None:
    """--place, --board-python and --ssh-config."""
    parser.add_argument("--place", default="~/.mest", metavar="DIR", help="folder on the board (default ~/.mest)")
    parser.add_argument(
        "--board-python", default="python3", metavar="PYTHON", help="Python of the board (default python3)"
    )
    parser.add_argument(
        "--ssh-config", type=Path, metavar="FILE", help="ssh configuration to use instead of the user's"
    )


def add_several(parser: argparse._ActionsContainer) -> None:
    """--group and --at-once."""
    parser.add_argument("--group", action="append", metavar="NAME", help="only this group of the list; may be repeated")
    parser.add_argument(
        "--at-once", type=int, default=AT_ONCE, metavar="N", help=f"boards served at a time (default {AT_ONCE})"
    )


def channels(listed: Sequence[Listed], args: argparse.Namespace) -> dict[str, Channel]:
    """A channel to each board, by its name."""
    from export.deploy.channel import Channel

    ssh = ["ssh", *(["-F", str(args.ssh_config)] if args.ssh_config else [])]
    return {
        one.name: Channel(one.name, one.place or args.place, one.python or args.board_python, ssh, one.host)
        for one in listed
    }


def closing(channels: Mapping[str, Channel], context: Context) -> Callable[[], bool]:
    """Whether the user wants it to end; the first time that is so, every channel is closed."""
    closed = False

    def stopped() -> bool:
        nonlocal closed
        if context.stop() and not closed:
            closed = True
            for channel in channels.values():
                channel.close()
        return closed

    return stopped


def outcome(
    board: str,
    act: Callable[[], dict[str, Any]],
    say: Callable[[str], None] = lambda text: None,
    facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What `act` gives; what ended it is told and kept in `refused`, with the `facts` as far as it came."""
    try:
        return act()
    except Exception as error:
        code = getattr(error, "exit_code", 2 if isinstance(error, OSError) else None)
        if code is None:
            raise
        say(str(error))
        return {"board": board, **(facts or {}), "refused": str(error), "exit_code": code}
