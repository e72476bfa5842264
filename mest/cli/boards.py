"""`mest boards`: what the boards of a list are, have installed and are doing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mest.cli import over_ssh, within_budget
from mest.cli.command import Command as Base
from mest.cli.command import Context, Stopped


class Command(Base):
    """Show the hardware, installed versions and run of each board in a YAML list, without changing the boards.

    mest boards FILE.yaml [--group NAME]

    'mest deploy ART --boards FILE.yaml' takes the same list.
    """

    name = "boards"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("list", type=Path, metavar="FILE", help="a YAML list of boards and groups")
        over_ssh.add_several(parser)
        over_ssh.add_connection(parser)

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from export.deploy.fleet import read_boards
        from export.deploy.rollout import roll_out

        channels = over_ssh.channels(read_boards(args.list, args.group or ()), args)
        stopped = over_ssh.closing(channels, context)

        def look(name: str) -> dict[str, Any]:
            return over_ssh.outcome(name, lambda: {"board": name, **_facts(channels[name].look(leave_program=False))})

        (stage,) = roll_out(list(channels), [len(channels)], look, at_once=args.at_once, heed=False, stopped=stopped)
        if stopped():
            raise Stopped("stopped before all were seen")
        failed = [stage.served[name]["exit_code"] for name in stage.failed]
        return {"boards": {name: stage.served[name] for name in channels}, "exit_code": failed[0] if failed else 0}

    def show(self, result: dict[str, Any]) -> str:
        head = ("board", "machine", "Python", "memory", "disk free", "active", "doing")
        return within_budget.columns([head, *(_row(one) for one in result["boards"].values())])


def _facts(look: dict[str, Any]) -> dict[str, Any]:
    """What a board told, without the list of what it holds."""
    kept = {name: value for name, value in look.items() if name != "content"}
    return {**kept, "python": "{}.{}".format(*look["python"]), "exit_code": 0}


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    if one["exit_code"]:
        return (one["board"], *["-"] * 5, one["refused"])
    return (
        one["board"],
        one["machine"],
        one["python"],
        within_budget.size(one["memory_bytes"]),
        within_budget.size(one["disk_free_bytes"]),
        one["active"] or "nothing",
        _doing(one["runs"]),
    )


def _doing(runs: list[dict[str, Any]]) -> str:
    working = [run["run"] for run in runs if run["running"]]
    if working:
        return f"run {', '.join(working)}"
    if not runs:
        return "nothing"
    last = runs[-1]
    how = {None: "was cut", 0: "ended well"}.get(last["code"], f"ended with exit code {last['code']}")
    return f"nothing; run {last['run']} {how}"
