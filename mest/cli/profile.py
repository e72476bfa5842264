"""`mest profile`: peak memory and time by operator and by kind."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mest.cli import within_budget
from mest.cli.command import Command as Base
from mest.cli.command import Context, Stopped
from mest.cli.effects import Effect, given, refuse_idle

if TYPE_CHECKING:
    from edge.report.record import Record

DRAWN_WITH = frozenset({"out", "json", "quiet", "verbose", "seed"})  # the options that act where a record is drawn


class Command(Base):
    """Measure peak memory and time by operator and by kind: a table here, and a report, pictures and files in --out.

    Runs a few training steps of an artifact or a state and leaves it unchanged. Given the record.json of a run, it runs
    nothing and draws the same report from the record. Given two records, it draws what changed from the first to the
    second, as comparison.html.
    """

    name = "profile"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("artifact", type=Path, metavar="ART|STATE|RECORD", help="what to profile, or a record.json")
        parser.add_argument("other", type=Path, nargs="?", metavar="RECORD", help="another record.json to compare with")
        parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the directory to write into")
        parser.add_argument("--data", help="images to train on (default: noise, which takes the same time and memory)")
        parser.add_argument("--steps", type=int, default=10, help="steps to time (default 10)")
        within_budget.add_engine(parser)
        within_budget.add_pins(parser)

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        if args.other is not None:
            return self._compare(args)
        if args.artifact.is_file():
            drawn = tuple(name for name in given(args) if name not in DRAWN_WITH)
            over = f"{args.artifact} is the record of a run that is over; leave it out"
            refuse_idle(args, (Effect(drawn, lambda args: False, over),))
        record = self._record(args, context)
        from edge.report.files import write_report  # after the run, whose memory it would count in

        paths = write_report(record, args.out)
        if context.stop():
            raise Stopped(f"stopped early; {args.out} holds the report of the steps so far")
        result = {**summary(record), "files": {name: str(path) for name, path in paths.items()}}
        return result if args.artifact.is_file() else within_budget.judged(result, context)

    def _compare(self, args: argparse.Namespace) -> dict[str, Any]:
        from edge.errors import InputError
        from edge.report.comparison import differences
        from edge.report.files import write_comparison
        from edge.report.record import read_record

        for path in (args.artifact, args.other):
            if path.is_dir():
                raise InputError(f"{path}: a folder; two runs are compared by their record.json files")
        drawn = tuple(name for name in given(args) if name not in DRAWN_WITH)
        refuse_idle(
            args, (Effect(drawn, lambda args: False, "two records are compared and nothing runs; leave it out"),)
        )
        first, second = read_record(args.artifact), read_record(args.other)
        page = write_comparison(first, second, args.out)
        return {"compared": differences(first, second), "files": {page.name: str(page)}}

    def _record(self, args: argparse.Namespace, context: Context) -> Record:
        from edge.report.record import read_record

        if args.artifact.is_file():
            return read_record(args.artifact)
        from edge.run.profile import Job, profile

        within_budget.say_unknown(args, context)
        job = Job(
            artifact=args.artifact,
            scratch=args.out,
            request=lambda artifact: within_budget.request(args, artifact),
            engine=args.engine,
            budget_bytes=within_budget.budget_bytes(args),
            data=None if args.data is None else within_budget.data_path(args.data),
            steps=args.steps,
            mutate=args.mutate or "none",
            seed=args.seed,
        )
        return profile(job, context.stop)

    def show(self, result: dict[str, Any]) -> str:
        if "compared" in result:
            from edge.report.terminal import comparison

            return f"{comparison(result['compared'])}\n\nReport: {result['files']['comparison.html']}"
        from edge.report import terminal
        from edge.report.record import read_record

        text = terminal.render(read_record(Path(result["files"]["record.json"])))
        return f"{text}\n\nReport: {result['files']['report.html']}"


def summary(record: Record) -> dict[str, Any]:
    """The figures of a record that a script asks for first; everything else is in record.json."""
    from edge.report.moments import timeline

    line, taken = timeline(record.plan), record.profile
    return {
        "engine": record.engine,
        "engine_reason": record.engine_reason,
        "budget_bytes": record.budget_bytes,
        "planned_peak_bytes": record.plan.peak_bytes,
        "measured_peak_bytes": record.measured.peak_bytes.value,
        "measured_reason": record.measured.peak_bytes.reason,
        "baseline_bytes": record.measured.baseline_bytes.value,
        "phases": {name: reading.value for name, reading in record.measured.phases.items()},
        "peak_step": line.steps[line.peak_step],
        "peak_by_kind": line.peak_by_kind(),
        "step_ms_median": None if taken is None else taken.step_ms_median.value,
        "operators_timed": 0 if taken is None else len(taken.operators),
    }
