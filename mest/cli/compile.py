"""`mest compile`: a plan, its weights and its steps in one file, for a process without Python."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mest.cli import within_budget
from mest.cli.command import Command as Base
from mest.cli.command import Context
from mest.cli.effects import Effect, refuse_idle

if TYPE_CHECKING:
    from edge.compiled.compiling import CompileResult

EFFECTS = (
    Effect(
        ("mutate_every", "gradient_weight"),
        lambda args: args.mutate is not None,
        "applies to mutation; give --mutate em or ems, or leave it out",
    ),
    Effect(
        ("lr_milestones", "lr_gamma"),
        lambda args: args.lr_scheduler == "step",
        "applies to the step schedule; give --lr-scheduler step, or leave it out",
    ),
)


def add_planning(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """What a plan for a process without Python is asked for, whatever becomes of it; the group of the run."""
    within_budget.add_budget(parser, of="mest-run")
    within_budget.add_pins(parser)
    run = within_budget.add_course(parser)
    within_budget.add_mutation(run)
    return run


def compiled(
    args: argparse.Namespace, out: Path, data: str | None = None, picture_memory: str | None = None
) -> CompileResult:
    """Compile the plan that the options ask for; raises as `compile_plan`."""
    from edge.compiled.compiling import CompileJob, compile_plan
    from edge.host.limits import parse_size

    refuse_idle(args, EFFECTS)
    job = CompileJob(
        artifact=args.artifact,
        out=out,
        settings=within_budget.settings(args),
        request=lambda artifact: within_budget.request(args, artifact),
        budget_bytes=within_budget.budget_bytes(args),
        data=data,
        picture_bytes=0 if picture_memory is None else parse_size(picture_memory, "--picture-memory"),
    )
    return compile_plan(job)


class Command(Base):
    """Plan for a process without Python and write the plan, weights included, as one file for mest-run.

    The memory budget is that of mest-run. Without --data, it compiles step lists for every size of the last batch.
    """

    name = "compile"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("artifact", type=Path, metavar="ART|STATE", help="an artifact, or a state for its weights")
        parser.add_argument("--out", type=Path, required=True, metavar="FILE.mest", help="the file to write")
        parser.add_argument("--data", help="the training data, to be counted in the plan")
        parser.add_argument("--threads", type=int, default=1, help="threads of mest-run (default 1)")
        parser.add_argument(
            "--picture-memory",
            metavar="SIZE",
            help="memory for decoding a JPEG or PNG file (default: the arena, where steps compute)",
        )
        within_budget.add_ends(add_planning(parser))

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        data = None if args.data is None else within_budget.data_path(args.data)
        done = compiled(args, args.out, data, args.picture_memory)
        plan = done.plan
        return {
            "file": str(done.out),
            "bytes": done.nbytes,
            "budget_bytes": within_budget.budget_bytes(args),
            "planned_peak_bytes": plan.peak_bytes,
            "arena_bytes": plan.footprint.arena.nbytes,
            "batch_size": plan.choices.batch_size,
            "pieces": list(done.sizes),
            "plan": plan.chosen(),
            "contributors": [{"name": name, "bytes": nbytes} for name, nbytes in plan.contributors()],
        }

    def show(self, result: dict[str, Any]) -> str:
        size, chosen, budget = within_budget.size, result["plan"], result["budget_bytes"]
        rows: list[tuple[str, Any]] = [
            ("file", f"{result['file']}, {size(result['bytes'])}"),
            ("planned peak", size(result["planned_peak_bytes"]) + (f" of {size(budget)}" if budget else "")),
            ("batch", f"{result['batch_size']}, in micro-batches of {chosen['micro_batch']}"),
            ("recompute", chosen["recompute"]),
            ("saved", f"{chosen['saved']} for the backward pass"),
            ("trained", f"{chosen['trainable']}, batch norm {chosen['batch_norm']}, {chosen['optimizer']}"),
            *((f"  {part['name']}", size(part["bytes"])) for part in result["contributors"]),
        ]
        return "\n".join([within_budget.table(rows), *chosen["notes"]])
