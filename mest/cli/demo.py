"""The command `mest demo`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mest.cli.command import Command as Base
from mest.cli.command import Context, Stopped
from mest.cli.strict_json import strict_json
from mest.errors import InputError

if TYPE_CHECKING:
    from mest.demo.checks import Check
    from mest.demo.walk import Walk

FAILED = 1


class Command(Base):
    """Run every step on embedded data and write a report.

    Trains a small network sparse, exports it, fine-tunes it on changed data within the smallest budget that its plan
    names plus a tenth, and compares with other tools. The data are handwritten digits from a new sensor (digits), or
    the signals of a smartwatch that moves to the other wrist (sensors). The report, and commands.sh next to it, list
    the commands that ran; in an empty folder they produce the report again. Needs the extras train and export; takes a
    few minutes on two cores.
    """

    name = "demo"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "scenario", nargs="?", choices=("digits", "sensors"), default="digits", help="which demo (default digits)"
        )
        parser.add_argument(
            "--out", type=Path, default=Path("demo"), metavar="DIR", help="where to write (default demo)"
        )
        parser.add_argument("--engine", choices=("auto", "native", "ort"), default="auto", help="engine of the board")
        parser.add_argument("--page", action="store_true", help="run nothing: write the report from the files in --out")

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from edge.report.road import render
        from mest.cli.road import build_road
        from mest.demo.checks import checks, failure
        from mest.demo.commands import Commands, Interrupted
        from mest.demo.scenario import SCENARIOS
        from mest.demo.script import Settings
        from mest.demo.walk import read_walk, walk

        out, settings = args.out, Settings(seed=args.seed, engine=args.engine, scenario=SCENARIOS[args.scenario])
        if not args.page:
            if out.exists() and (not out.is_dir() or any(out.iterdir())):
                raise InputError(f"--out {out}: exists and is not empty; give a new directory")
            out.mkdir(parents=True, exist_ok=True)
        try:
            walked = (
                read_walk(out, settings) if args.page else walk(out, settings, Commands(out, context.stop), context.say)
            )
        except Interrupted:
            raise Stopped(f"stopped; start again with another --out, {out} holds what was done so far") from None
        found = checks(walked)
        report = out / "report.html"
        report.write_text(render(build_road(walked, found)), encoding="utf-8")
        failed = failure(found)
        if failed is not None:
            context.say(f"mest demo: failed: {failed}; see {report}")
        result = summary(walked, found, report)
        (out / "summary.json").write_text(strict_json(result, indent=1) + "\n", encoding="utf-8")
        return {**result, "exit_code": FAILED} if failed is not None else result

    def show(self, result: dict[str, Any]) -> str:
        lines = [
            f"{'kept  ' if check['passed'] else 'BROKEN'} {check['name']}: {check['said']}"
            for check in result["checks"]
        ]
        return "\n".join([result["won"], *lines, *result["notes"], f"Report: {result['report']}"])


def summary(walked: Walk, found: tuple[Check, ...], report: Path) -> dict[str, Any]:
    """What `mest demo --json` prints."""
    from mest.cli.road import notes, won

    tuned = walked.result("finetune")
    same = ("engine", "batch_size", "steps", "planned_peak_bytes", "measured_peak_bytes", "baseline_bytes")
    return {
        "report": str(report),
        "scenario": walked.settings.scenario.name,
        "won": won(walked),
        "passed": all(check.passed for check in found),
        "checks": [{"name": check.name, "passed": check.passed, "said": check.said} for check in found],
        "notes": list(notes(walked)),
        "seed": walked.settings.seed,
        **{name: tuned.get(name) for name in same},
        "budget_bytes": walked.budget_bytes,
        "step_ms_median": tuned.get("step_ms_median"),
        "accuracy_trained": walked.result("train")["accuracy"],
        "accuracy_before": tuned["accuracy_before"],
        "accuracy_after": walked.result("eval")["accuracy"],
        "sparsity": tuned["sparsity"],
        "zeros_kept": tuned["zeros_kept"],
        "least_budget_bytes": walked.least_bytes,
        "refused_budget_bytes": walked.refused_bytes,
        "pytorch": walked.result("pytorch"),
        "ort": walked.ort,
        "seconds": {f"{place} {name}": round(took, 1) for place, (name, took) in enumerate(walked.seconds.items(), 1)},
    }
