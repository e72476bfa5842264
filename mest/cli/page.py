"""`mest page`: a network as one web page, which trains it in a browser."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from mest.cli import within_budget
from mest.cli.command import Command as Base
from mest.cli.command import Context
from mest.cli.compile import add_planning, compiled
from mest.version import __version__


class Command(Base):
    """Write one web page that collects samples, trains the network on them and predicts, all in the browser.

    The page holds the plan, the weights and the C library as WebAssembly, and makes no network request. The plan is
    written next to it; 'mest unpack' needs it to convert states that the page saves. Takes a minute and needs the
    package ziglang, unless --module names a module that 'mest runner --library --target wasm32' built.
    """

    name = "page"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("artifact", type=Path, metavar="ART|STATE", help="an artifact, or a state for its weights")
        parser.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="the page to write")
        parser.add_argument("--title", help="heading of the page (default: the artifact's name)")
        parser.add_argument("--module", type=Path, metavar="FILE.wasm", help="a mest.wasm that was built earlier")
        add_planning(parser)

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from edge.compiled.plan import read_plan
        from edge.errors import InputError
        from edge.files.durable import write_durably
        from edge.webpage.page import refuse_plan, write_page

        page, args.threads = args.out, 1
        if page.suffix != ".html":
            raise InputError(f"--out {page}: give a file that ends in .html")
        plan, name = page.with_suffix(".mest"), args.artifact.resolve().name
        with tempfile.TemporaryDirectory(prefix="mest-page-") as folder:
            done = compiled(args, Path(folder) / plan.name)
            read = read_plan(done.out)
            refuse_plan(read, args.artifact)  # before a module is built, which takes a minute
            module = _module(args.module)
            nbytes = write_page(read, module, name, args.title or name, __version__, page)
            write_durably(plan, done.out.read_bytes())
        return {
            "page": str(page),
            "bytes": nbytes,
            "plan": str(plan),
            "plan_bytes": done.nbytes,
            "module_bytes": len(module),
            "planned_peak_bytes": done.plan.peak_bytes,
            "arena_bytes": done.plan.footprint.arena.nbytes,
            "batch_size": done.plan.choices.batch_size,
        }

    def show(self, result: dict[str, Any]) -> str:
        size = within_budget.size
        rows = [
            ("page", f"{result['page']}, {size(result['bytes'])}"),
            ("plan", f"{result['plan']}, {size(result['plan_bytes'])}"),
            ("module", size(result["module_bytes"])),
            ("planned peak", f"{size(result['planned_peak_bytes'])} for mest-run"),
        ]
        return within_budget.table(rows)


def _module(given: Path | None) -> bytes:
    """The WebAssembly module: one that was built before, or a new one; raises InputError where there is none."""
    from edge.errors import InputError
    from edge.libmest.targets import WEB, build_library_for

    if given is not None:
        try:
            found = given.read_bytes()
        except OSError as error:
            raise InputError(f"--module {given}: {error.strerror}; give mest.wasm") from None
        if found[:4] != b"\0asm":
            raise InputError(f"--module {given}: is no WebAssembly module; give mest.wasm")
        return found
    with tempfile.TemporaryDirectory(prefix="mest-page-") as folder:
        build_library_for(WEB, Path(folder))
        return (Path(folder) / "mest.wasm").read_bytes()
