"""`mest runner`: the program mest-run for a target."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mest.cli import within_budget
from mest.cli.command import Command as Base
from mest.cli.command import Context


class Command(Base):
    """Build mest-run, which runs compiled plans without Python: one static program for any Linux of a processor.

    It takes a minute, and the package ziglang, which holds a C compiler for every target.
    """

    name = "runner"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--target", required=True, help="linux-x86_64, linux-aarch64 or linux-armv7")
        parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the program to write")

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from edge.libmest.targets import build_for

        return {"target": args.target, "file": str(args.out), "bytes": build_for(args.target, args.out)}

    def show(self, result: dict[str, Any]) -> str:
        rows = [("program", f"{result['file']}, {within_budget.size(result['bytes'])}"), ("for", result["target"])]
        return within_budget.table(rows)
