"""`mest eval`: accuracy of an artifact, a state or a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mest.cli import within_budget
from mest.cli.command import Command as Base
from mest.cli.command import Context
from mest.cli.effects import Effect, refuse_idle

EFFECTS = (
    Effect(
        ("engine", "memory_budget", "threads"),
        lambda args: not _is_run(args.model),
        "applies to the board's engines, and PyTorch evaluates a run; leave it out, or give the artifact of the run",
    ),
)


class Command(Base):
    """Measure the accuracy of an artifact, a state or a run on labelled data.

    An engine of the board evaluates an artifact or a state within the memory budget; PyTorch evaluates a run.
    """

    name = "eval"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("model", type=Path, metavar="ART|STATE|RUN", help="an artifact, a state or a run directory")
        parser.add_argument("--data", help="images with labels (default for a run: its test data)")
        within_budget.add_unreadable(parser)
        within_budget.add_engine(parser)

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from edge.errors import InputError

        refuse_idle(args, EFFECTS)
        if _is_run(args.model):
            from mest.train.evaluate import evaluate_run

            result: dict[str, Any] = evaluate_run(args.model, args.data, unreadable=args.unreadable, say=context.say)
            return result
        if not args.model.is_dir():
            raise InputError(f"{args.model}: no such directory; give an artifact, a state or a run")
        if args.data is None:
            raise InputError(
                "--data is needed: a folder with one folder of images per class, an .npz file, digits or watch"
            )
        from edge.run.evaluate import evaluate

        within_budget.say_unknown(args, context)
        budget, threads = within_budget.budget_bytes(args), within_budget.threads(args)
        data = within_budget.data_path(args.data)
        found = evaluate(args.model, data, args.engine, budget, threads, unreadable=args.unreadable, say=context.say)
        return within_budget.judged(found.to_json(), context)

    def show(self, result: dict[str, Any]) -> str:
        budget, skipped = result.get("budget_bytes"), result["skipped"]
        rows: list[tuple[str, Any]] = [
            *_scores(result),
            ("images", f"{result['images']:,}" + (f", {skipped} unreadable ones left out" if skipped else "")),
            ("engine", f"{result['engine']} ({result['engine_reason']})" if "engine" in result else None),
        ]
        if "measured_peak_bytes" in result:
            measured = within_budget.size(result["measured_peak_bytes"])
            rows.append(("measured peak", measured + (f" of {within_budget.size(budget)}" if budget else "")))
        return within_budget.table(rows)


def _scores(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Every metric of the task, by what a person calls it."""
    from edge.tasks.registry import CLASSIFICATION, TASKS

    if "accuracy" in result:
        return [(CLASSIFICATION.metric.label, f"{result['accuracy']:.2%}")]
    return [(metric.label, metric.text(result["metrics"][metric.key])) for metric in TASKS[result["task"]].metrics]


def _is_run(model: Path) -> bool:
    """True if a directory is one that mest train wrote."""
    return (model / "run.json").is_file()
