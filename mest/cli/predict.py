"""`mest predict`: classes and scores for images, or for windows and vectors of numbers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mest.cli import within_budget
from mest.cli.command import Command as Base
from mest.cli.command import Context


class Command(Base):
    """Show classes and scores for images, from an artifact or a state, within a memory budget.

    For a model of windows or vectors, give npz files: every entry of `inputs` is classified.
    """

    name = "predict"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("model", type=Path, metavar="ART|STATE", help="an artifact or a state directory")
        parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files; - is standard input; or npz files")
        parser.add_argument("--top", type=int, default=5, help="classes to show for each image (default 5)")
        within_budget.add_engine(parser)

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from edge.run.predict import predict_files

        within_budget.say_unknown(args, context)
        budget, threads = within_budget.budget_bytes(args), within_budget.threads(args)
        result = predict_files(args.model, args.images, args.engine, budget, threads, args.top, context.say)
        for unread in result.unread:
            context.say(f"mest predict: {unread.error}")
        return within_budget.judged(result.to_json(), context)

    def show(self, result: dict[str, Any]) -> str:
        from edge.tasks.registry import CLASSIFICATION, TASKS

        task = TASKS[result.get("task", CLASSIFICATION.name)]
        return "\n".join(f"{found['image']}: {task.words(found)}" for found in result["predictions"])
