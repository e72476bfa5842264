"""`mest finetune`: fine-tune an artifact within a memory budget."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mest.cli import within_budget
from mest.cli.command import Command as Base
from mest.cli.command import Context, Stopped
from mest.cli.effects import Effect, refuse_idle
from mest.cli.spelling import setting

if TYPE_CHECKING:
    from edge.run.training import Moment
    from edge.tasks.metric import Metric
    from mest.cli.finetune_log import FinetuneLog

_REFRESH_SECONDS = 0.2
EFFECTS = (
    Effect(
        ("replan",),
        lambda args: args.resume,
        "replaces the plan of a resumed run; leave it out, or give --resume",
    ),
    # A resumed run compares what is given with its state, which says whether it mutates.
    Effect(
        ("mutate_every", "gradient_weight"),
        lambda args: args.resume or args.mutate is not None,  # "none" in so many words is a choice, not an oversight
        "applies to mutation; give --mutate em or ems, or leave it out",
    ),
    Effect(
        ("lr_milestones", "lr_gamma"),
        lambda args: args.resume or args.lr_scheduler == "step",
        "applies to the step schedule; give --lr-scheduler step, or leave it out",
    ),
    Effect(
        ("hold_out",),
        lambda args: args.eval_data is None or args.hold_out == 0,
        "holds out a share of --data, and --eval-data is held out instead; give one of them, or --hold-out 0",
    ),
)


class Command(Base):
    """Fine-tune an artifact within a memory budget: planned first, then enforced and measured during the run.

    The state directory is complete at every moment: after a kill or a power cut, --resume gives the same final weights.
    """

    name = "finetune"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "artifact",
            type=Path,
            metavar="ART|STATE",
            help="the directory that 'mest export' wrote, or a state: a new run then begins with its weights",
        )
        parser.add_argument("--out", type=Path, required=True, metavar="STATE", help="the state directory to write")
        parser.add_argument(
            "--data", required=True, help="a folder with one folder of images per class, an .npz file, digits or watch"
        )
        within_budget.add_unreadable(parser)
        parser.add_argument("--eval-data", help="data for the accuracy before and after, instead of a held-out part")
        parser.add_argument("--resume", action="store_true", help="continue the state in --out")
        parser.add_argument(
            "--replan", action="store_true", help="let a resumed run take another plan than its state's"
        )
        parser.add_argument(
            "--optimizer-state",
            choices=("fresh", "keep"),
            help="for a new run from a state: start with a fresh optimizer state (default), or keep that of the state",
        )
        within_budget.add_engine(parser)
        within_budget.add_pins(parser)
        run = within_budget.add_course(parser)
        within_budget.add_mutation(run)
        within_budget.add_ends(run)
        run.add_argument(
            "--log",
            metavar="LOG",
            help="also log every epoch: tensorboard[:DIR] (default DIR: tensorboard in the state's "
            "directory), wandb[:PROJECT] or none (default none); its package counts within the budget",
        )

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from edge.run.finetune import finetune
        from edge.run.job import Job

        refuse_idle(args, EFFECTS)
        settings = within_budget.settings(args, _stored_settings(args) if args.resume else {})
        job = Job(
            artifact=args.artifact,
            data=within_budget.data_path(args.data),
            state=args.out,
            settings=settings,
            request=lambda artifact: within_budget.request(args, artifact),
            engine=args.engine,
            budget_bytes=within_budget.budget_bytes(args),
            resume=args.resume,
            replan=args.replan,
            eval_data=None if args.eval_data is None else within_budget.data_path(args.eval_data),
            unreadable=args.unreadable,
            optimizer_state=args.optimizer_state,
        )
        line = _Line() if context.progress else _EpochLines(context)
        log = None if args.log is None else _log(args, vars(settings))
        try:
            result = finetune(job, context.stop, line, context.say, log)
            if log is not None and result.saved and not result.stopped:
                log.result(result.to_json())
        finally:
            line.close()
            if log is not None:
                log.close()
        if not result.saved:
            raise Stopped("stopped before there was a state to save; start it again")
        if result.stopped:
            raise Stopped(f"stopped at step {result.steps}; continue with --resume, the state is in {args.out}")
        return within_budget.judged(result.to_json(), context)

    def show(self, result: dict[str, Any]) -> str:
        size, chosen = within_budget.size, result["plan"]
        budget, baseline, kept = result["budget_bytes"], result["baseline_bytes"], result["kept_epoch"]
        verdict = {True: "within the budget", False: "NOT within the budget", None: ""}[result["within_budget"]]
        measured = size(result["measured_peak_bytes"], result["measured_reason"])
        rows: list[tuple[str, Any]] = [
            (_metric(result).label, _scores(result)),
            ("planned peak", size(result["planned_peak_bytes"])),
            ("measured peak", f"{measured}{f' of {size(budget)}' if budget else ''} {verdict}".rstrip()),
            ("baseline", f"{size(baseline)} before the network was loaded" if baseline is not None else None),
            ("limits", ", ".join(result["limits"]) or "none"),
            ("swap", result["swap"]),
            ("engine", f"{result['engine']} ({result['engine_reason']})"),
            ("steps", f"{result['steps']} in {result['epochs']} epochs, batch {result['batch_size']}"),
            ("step time", f"{result['step_ms_median']:.1f} ms" if result["step_ms_median"] else None),
            (
                "micro-batch",
                f"{chosen['micro_batch']}, recompute {chosen['recompute']}, batch norm {chosen['batch_norm']}",
            ),
            ("saved", f"{chosen['saved']} for the backward pass"),
            ("sparsity", f"{result['sparsity']:.2%}, zeros {'kept' if result['zeros_kept'] else 'NOT kept'}"),
            ("mutations", result["mutations"] or None),
            ("ended early", result["stopped_early"]),
            ("weights", f"of epoch {kept}, the best on held-out samples" if kept else None),
            ("state", result["state"]),
            ("report", f"mest profile {Path(result['state']) / 'record.json'} --out DIR draws this run as a page"),
        ]
        return "\n".join([within_budget.table(rows), *chosen["notes"]])


def _metric(result: dict[str, Any]) -> Metric:
    """The metric that decides."""
    from edge.tasks.registry import CLASSIFICATION, TASKS

    return TASKS[result.get("task", CLASSIFICATION.name)].metric


def _scores(result: dict[str, Any]) -> str:
    name = "metric" if "task" in result else "accuracy"
    before, after = result[f"{name}_before"], result[f"{name}_after"]
    if before is None or after is None:
        return "not measured: no sample was held out"
    text = _metric(result).text
    shown = f"{text(before)} before, {text(after)} after, on {result['samples_held_out']:,} held-out samples"
    return f"{shown}; {result['samples_train']:,} trained on"


def _log(args: argparse.Namespace, settings: dict[str, Any]) -> FinetuneLog:
    """What is told of the run, its package imported; a run without --log holds nothing of it."""
    from mest.cli.finetune_log import FinetuneLog, log_asked

    return FinetuneLog(log_asked(args.log), args.out, {"artifact": str(args.artifact), **settings})


def _stored_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings of the state; refuses options that contradict the plan that it pins."""
    from edge.run.continuation import refuse_other_settings, resumable_facts

    facts = resumable_facts(args.out)
    given = {setting(name): value for name, value in vars(args).items() if value is not None}
    refuse_other_settings(args.out, given, facts, args.replan)
    settings: dict[str, Any] = facts["settings"]
    return settings


class _Line:
    """One line on a terminal that is written over as the run goes on."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, moment: Moment) -> None:
        now = time.monotonic()
        if now - self._last < _REFRESH_SECONDS:
            return
        self._last = now
        sys.stderr.write(f"\r{moment.progress:4.0%}  {_said(moment)}\x1b[K")
        sys.stderr.flush()

    def close(self) -> None:
        """Leave the line, cleared."""
        if self._last:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


class _EpochLines:
    """A line for each epoch, where nothing can be written over: in a log."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._last: Moment | None = None

    def __call__(self, moment: Moment) -> None:
        if self._last is not None and moment.epoch != self._last.epoch:
            self.close()
        self._last = moment

    def close(self) -> None:
        """Say how the epoch ended, or where it was left."""
        if self._last is not None:
            self._context.say(f"epoch {self._last.epoch}: {_said(self._last)}")
            self._last = None


def _said(moment: Moment) -> str:
    """Step, loss, memory and time left, in words."""
    left = "" if moment.seconds_left is None else f", {_duration(moment.seconds_left)} left"
    resident = "" if moment.resident_bytes is None else f", {within_budget.size(moment.resident_bytes)} resident"
    return f"step {moment.step}, loss {moment.loss:.4f}{resident}{left}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
