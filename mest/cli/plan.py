"""`mest plan`: what fits a memory budget, before anything runs."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from mest.cli import within_budget
from mest.cli.command import Command as Base
from mest.cli.command import Context
from mest.cli.spelling import words_of

NOT_OF_FINETUNE = frozenset({"artifact", "board", "data", "help", "json", "quiet", "verbose"})


class Command(Base):
    """Show what fits a memory budget, before anything runs: the plan that fine-tuning would take, byte by byte.

    --board FILE plans for another machine: FILE is the output of 'mest board --json' there. If nothing fits, the exit
    code is 3 and the message names the smallest budget that would do.
    """

    name = "plan"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("artifact", type=Path, help="the directory that 'mest export' wrote")
        parser.add_argument("--board", type=Path, metavar="FILE", help="plan for the board whose facts FILE holds")
        parser.add_argument("--data", help="also count the index and the decoder of this data")
        within_budget.add_engine(parser)
        within_budget.add_pins(parser)

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        import edge.run.finetune  # noqa: F401 - first of all, so that the baseline is that of fine-tuning
        from edge.data.open import open_source
        from edge.engines.board import board_baselines, read_board_file
        from edge.engines.choice import choose
        from edge.handover.artifact import open_artifact
        from edge.plan.process import phase_peaks
        from edge.run.needs import data_needs
        from edge.run.rate import densest_sparsity
        from edge.run.session import Board
        from edge.run.settings import Settings
        from edge.run.training_data import TrainingData

        command = finetune_command(args)
        here = Board()
        board = read_board_file(args.board) if args.board else None
        artifact = open_artifact(args.artifact)
        if board is not None and args.threads is None:
            args.threads = board.get("cores") or 1
        request, method = within_budget.request(args, artifact), args.mutate or "none"
        request = replace(request, densest_sparsity=densest_sparsity(method, artifact.mutation_targets(method=method)))
        needs = data_needs(artifact)
        source, last_batch = None, request.batch_size - 1  # of unknown data: an epoch that ends in a smaller batch
        if args.data:
            # Held while the plan is made, as fine-tuning holds it.
            where, network = within_budget.data_path(args.data), artifact.network
            source = open_source(
                where, artifact.class_names, None, artifact.preprocess, task=network.task, output=network.output
            )
            data = TrainingData.of(source, None, Settings())
            needs = data.needs(artifact)
            last_batch = len(data.split.train) % request.batch_size
        request = replace(request, last_batch=last_batch)
        budget = within_budget.budget_bytes(args)
        baselines = None if board is None else board_baselines(board)
        if board is None and here.meter.reason is not None:
            within_budget.say_unknown(args, context)
        chosen = choose(args.engine, artifact, request, needs, budget, here.start_bytes, baselines)
        plan = chosen.plan
        if source is not None:
            source.close()
        return {
            "artifact": str(args.artifact),
            "board": str(args.board) if args.board else None,
            "engine": plan.engine,
            "engine_reason": chosen.why,
            "budget_bytes": budget,
            "planned_peak_bytes": plan.peak_bytes,
            "baseline_bytes": plan.baseline_bytes if board is not None or here.start_bytes is not None else None,
            "arena_bytes": plan.footprint.arena.nbytes,
            "naive_arena_bytes": plan.footprint.arena.naive_bytes,
            "batch_size": plan.choices.batch_size,
            "plan": plan.chosen(),
            "contributors": [{"name": name, "bytes": nbytes} for name, nbytes in plan.contributors()],
            "phases": dict(phase_peaks(plan)),
            "finetune": command,
        }

    def show(self, result: dict[str, Any]) -> str:
        size, chosen, budget = within_budget.size, result["plan"], result["budget_bytes"]
        rows: list[tuple[str, Any]] = [
            ("planned peak", size(result["planned_peak_bytes"]) + (f" of {size(budget)}" if budget else "")),
            ("engine", f"{result['engine']} ({result['engine_reason']})"),
            ("batch", f"{result['batch_size']}, in micro-batches of {chosen['micro_batch']}"),
            ("recompute", chosen["recompute"]),
            ("saved", f"{chosen['saved']} for the backward pass"),
            ("trained", f"{chosen['trainable']}, batch norm {chosen['batch_norm']}, {chosen['optimizer']}"),
            ("result", "exact" if chosen["exact"] else "changed by the plan, see below"),
            *((f"  {part['name']}", size(part["bytes"])) for part in result["contributors"]),
            ("  (arena without reuse)", size(result["naive_arena_bytes"])),
        ]
        return "\n".join([within_budget.table(rows), *chosen["notes"], f"This is the plan of: {result['finetune']}"])


def finetune_command(args: argparse.Namespace) -> str:
    """The fine-tuning of this plan, as a person would type it; DATA and STATE stand for what was not given."""
    words = ["mest", "finetune", str(args.artifact), "--data", args.data or "DATA"]
    words += words_of(args, NOT_OF_FINETUNE)
    return shlex.join([*words, "--out", "STATE"])
