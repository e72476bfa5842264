"""`mest eval`: accuracy of an artifact, a state or a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mest.cli import within_budget
from mest.cli.command import Command as Base
from mest.cli.command import Context


class Command(Base):
    """Accuracy of an artifact, a state or a run on labelled data.

    An artifact or a state is evaluated by an engine of the board within the memory budget, a run by PyTorch.
    """

    name = "eval"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("model", type=Path, metavar="ART|STATE|RUN", help="an artifact, a state or a run directory")
        parser.add_argument("--data", help="images with labels (default for a run: its test data)")
        within_budget.add_engine(parser)

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from edge.errors import InputError

        if (args.model / "run.json").is_file():
            from mest.train.evaluate import evaluate_run

            result: dict[str, Any] = evaluate_run(args.model, args.data)
            return result
        if not args.model.is_dir():
            raise InputError(f"{args.model}: no such directory; give an artifact, a state or a run")
        if args.data is None:
            raise InputError("--data is needed: a folder with one folder of images per class, an .npz file, or digits")
        from edge.evaluate import evaluate

        budget, threads = within_budget.budget_bytes(args), within_budget.threads(args)
        return evaluate(args.model, within_budget.data_path(args.data), args.engine, budget, threads).to_json()

    def show(self, result: dict[str, Any]) -> str:
        budget = result.get("budget_bytes")
        rows: list[tuple[str, Any]] = [
            ("accuracy", f"{result['accuracy']:.2%}"),
            ("samples", result.get("samples")),
            ("engine", f"{result['engine']} ({result['engine_reason']})" if "engine" in result else None),
        ]
        if "measured_peak_bytes" in result:
            measured = within_budget.size(result["measured_peak_bytes"])
            rows.append(("measured peak", measured + (f" of {within_budget.size(budget)}" if budget else "")))
        return within_budget.table(rows)
