"""The program of a bundle: `python3 FILE install` on a board that has nothing but Python."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.errors import EdgeError
from edge.install.bundle import open_bundle
from edge.install.health import refuse_unhealthy
from edge.install.versions import Board

DEFAULT_PLACE = "~/.mest"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code, those of `mest`."""
    parser = argparse.ArgumentParser(prog="bundle", description="Check this bundle, or install it on this board.")
    parser.add_argument("command", choices=("check", "install", "back"), help="back: to the version before")
    parser.add_argument("--place", default=DEFAULT_PLACE, metavar="DIR", help=f"default {DEFAULT_PLACE}")
    args = parser.parse_args(arguments)
    board, file = Board(Path(args.place).expanduser().absolute()), Path(sys.argv[0])
    try:
        print(_run(args.command, board, file))
    except EdgeError as refused:
        print(f"{file.name}: {refused}", file=sys.stderr)
        return refused.exit_code
    except OSError as failed:
        print(f"{file.name}: {failed.strerror}: {failed.filename}", file=sys.stderr)
        return 2
    return 0


def _run(command: str, board: Board, file: Path) -> str:
    if command == "back":
        with board.changing():
            return f"{board.back()} is active again"
    opened = open_bundle(file)
    bundle = opened.bundle
    if command == "check":
        return f"version {bundle.version} for {bundle.machine}, {len(bundle.members)} files as its manifest lists them"
    board.refuse_older(bundle, str(file))
    with board.changing():
        name = board.install(bundle.encode(), str(file), opened.places, opened.signature)
        refuse_unhealthy(board, name)
        board.activate(name)
        board.tidy(set())
    return f"{name} is active; use {board.root / 'active' / 'start'} COMMAND OPTIONS"
