"""`mest pack`: samples and labels as mest-run reads them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mest.cli import within_budget
from mest.cli.command import Command as Base
from mest.cli.command import Context


class Command(Base):
    """Write samples and labels as one file for mest-run, in the form that a compiled plan needs."""

    name = "pack"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("data", help="a folder with one folder of images per class, an .npz file, or digits")
        parser.add_argument("--for", type=Path, required=True, metavar="FILE.mest", help="the compiled plan")
        parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the data file to write")
        within_budget.add_unreadable(parser)

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from edge.compiled.packing import pack
        from edge.compiled.plan import read_plan
        from edge.data.open import open_source

        compiled = read_plan(getattr(args, "for"))
        source = open_source(
            within_budget.data_path(args.data),
            compiled.class_names,
            args.out.parent,
            compiled.preprocess,
            args.unreadable,
        )
        try:
            for note in source.notes:
                context.say(note)
            packed = pack(source, compiled, args.out)
            skipped = source.skipped
        finally:
            source.close()
        return {
            "file": str(args.out),
            "bytes": packed.nbytes,
            "samples": packed.samples,
            "test": packed.test,
            "skipped": skipped,
        }

    def show(self, result: dict[str, Any]) -> str:
        left = f", {result['skipped']} unreadable ones left out" if result["skipped"] else ""
        rows = [
            ("samples", f"{result['samples']:,}, {result['test']:,} of them marked as test{left}"),
            ("file", f"{result['file']}, {within_budget.size(result['bytes'])}"),
        ]
        return within_budget.table(rows)
