"""`mest unpack`: a state of mest-run as a state of mest."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mest.cli import within_budget
from mest.cli.command import Command as Base
from mest.cli.command import Context


class Command(Base):
    """Convert a state of mest-run to a state directory for eval, predict, export and finetune."""

    name = "unpack"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("state", type=Path, metavar="FILE.state", help="the state that mest-run wrote")
        parser.add_argument("--for", type=Path, required=True, metavar="FILE.mest", help="its compiled plan")
        parser.add_argument("--out", type=Path, required=True, metavar="STATE", help="the state directory to write")

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from edge.compiled.plan import read_plan
        from edge.compiled.state import bring_home

        return {"state": str(args.out), **bring_home(read_plan(getattr(args, "for")), args.state, args.out)}

    def show(self, result: dict[str, Any]) -> str:
        rows = [("state", result["state"]), ("trained", f"{result['steps']} steps, {result['epochs']} epochs")]
        return within_budget.table(rows)
