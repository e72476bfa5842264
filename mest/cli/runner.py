"""`mest runner`: the program mest-run for a target, or the C library behind it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mest.cli import within_budget
from mest.cli.command import Command as Base
from mest.cli.command import Context


class Command(Base):
    """Build mest-run, which runs compiled plans without Python: one static program for any Linux of a processor.

    With --library the C library for apps instead: a static and a shared one for systems with glibc 2.28 or newer, and
    the header; for wasm32 a WebAssembly module and mest.js, for browsers and Node. Either takes a minute, and the
    package ziglang, which holds a C compiler for every target.
    """

    name = "runner"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--target", required=True, help="linux-x86_64, linux-aarch64 or linux-armv7; with --library also wasm32"
        )
        parser.add_argument(
            "--out", type=Path, required=True, metavar="FILE", help="the program, or the folder, to write"
        )
        parser.add_argument("--library", action="store_true", help="the library for apps instead of the program")

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from edge.libmest.targets import build_for, build_library_for

        if args.library:
            files = build_library_for(args.target, args.out)
            return {"target": args.target, "folder": str(args.out), "files": files}
        return {"target": args.target, "file": str(args.out), "bytes": build_for(args.target, args.out)}

    def show(self, result: dict[str, Any]) -> str:
        if "files" in result:
            sizes = ", ".join(f"{name} {within_budget.size(size)}" for name, size in result["files"].items())
            return within_budget.table([("library", f"{result['folder']}: {sizes}"), ("for", result["target"])])
        rows = [("program", f"{result['file']}, {within_budget.size(result['bytes'])}"), ("for", result["target"])]
        return within_budget.table(rows)
