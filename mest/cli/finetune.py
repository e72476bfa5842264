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

if TYPE_CHECKING:
    from edge.training import Moment, Settings

_REFRESH_SECONDS = 0.2


class Command(Base):
    """Fine-tune an artifact within a memory budget: planned first, limited and measured while it runs.

    The state directory is complete at every moment: after a kill or a power cut, --resume ends with the same weights.
    """

    name = "finetune"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("artifact", type=Path, help="the directory that 'mest export' wrote")
        parser.add_argument("--out", type=Path, required=True, metavar="STATE", help="the state directory to write")
        parser.add_argument(
            "--data", required=True, help="a folder with one folder of images per class, an .npz file, or digits"
        )
        parser.add_argument("--eval-data", help="data for the accuracy before and after, instead of a held-out part")
        parser.add_argument("--resume", action="store_true", help="continue the state in --out")
        parser.add_argument(
            "--replan", action="store_true", help="let a resumed run take another plan than its state's"
        )
        within_budget.add_engine(parser)
        within_budget.add_pins(parser)
        run = parser.add_argument_group("the run")
        run.add_argument("--epochs", type=int, help="default 5")
        run.add_argument("--lr", type=float, help="learning rate at its highest (default 0.01)")
        run.add_argument("--lr-scheduler", choices=("constant", "linear", "cosine"), help="default cosine")
        run.add_argument("--warmup", type=float, metavar="SHARE", help="share of the run in which the rate rises")
        run.add_argument(
            "--augment",
            type=lambda given: given.replace("+", "-"),
            choices=("none", "flip", "crop", "crop-flip"),
            help="random mirror images and shifts, crop-flip for both (default none)",
        )
        run.add_argument(
            "--hold-out",
            type=float,
            metavar="SHARE",
            help="share kept for accuracy (default 0.1); an npz file that marks test samples keeps those",
        )
        run.add_argument("--mutate-every", type=int, metavar="STEPS", help="steps between mutations (default 50)")
        run.add_argument("--gradient-weight", type=float, help="of the gradient in the score of a weight (default 0)")
        run.add_argument(
            "--patience", type=int, metavar="EPOCHS", help="stop early without a gain for so long; keeps the best epoch"
        )
        run.add_argument(
            "--drop-after",
            type=int,
            metavar="EPOCHS",
            help="then drop samples that were never forgotten; until then every step costs one more forward pass",
        )
        run.add_argument("--save-every", type=int, metavar="STEPS", help="steps between states (default 100)")

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from edge.finetune import Job, finetune

        settings = _settings(args)
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
        )
        line = _Line() if context.progress else None
        try:
            result = finetune(job, context.stop, line or (lambda moment: None), context.say)
        finally:
            if line is not None:
                line.close()
        if result.stopped:
            raise Stopped(f"stopped at step {result.steps}; continue with --resume, the state is in {args.out}")
        return result.to_json()

    def show(self, result: dict[str, Any]) -> str:
        size, chosen = within_budget.size, result["plan"]
        budget, baseline, kept = result["budget_bytes"], result["baseline_bytes"], result["kept_epoch"]
        verdict = {True: "within the budget", False: "NOT within the budget", None: ""}[result["within_budget"]]
        measured = size(result["measured_peak_bytes"], result["measured_reason"])
        rows: list[tuple[str, Any]] = [
            ("accuracy", _accuracies(result)),
            ("planned peak", size(result["planned_peak_bytes"])),
            ("measured peak", f"{measured}{f' of {size(budget)}' if budget else ''} {verdict}".rstrip()),
            ("baseline", f"{size(baseline)} before the network was loaded" if baseline is not None else None),
            ("limits", ", ".join(result["limits"]) or "none"),
            ("swap", result["swap"]),
            ("engine", f"{result['engine']} ({result['engine_reason']})"),
            ("steps", f"{result['steps']} in {result['epochs']} epochs, batch {result['batch_size']}"),
            ("step time", f"{result['step_ms_median']:.1f} ms" if result["step_ms_median"] else None),
            ("pieces", f"{chosen['micro_batch']}, recompute {chosen['recompute']}, batch norm {chosen['batch_norm']}"),
            ("sparsity", f"{result['sparsity']:.2%}, zeros {'kept' if result['zeros_kept'] else 'NOT kept'}"),
            ("mutations", result["mutations"] or None),
            ("ended early", result["stopped_early"]),
            ("weights", f"of epoch {kept}, the best on held-out samples" if kept else None),
            ("state", result["state"]),
            ("report", f"mest profile {Path(result['state']) / 'record.json'} --out DIR draws this run as a page"),
        ]
        return "\n".join([within_budget.table(rows), *chosen["notes"]])


def _accuracies(result: dict[str, Any]) -> str:
    before, after = result["accuracy_before"], result["accuracy_after"]
    if before is None or after is None:
        return "not measured: no sample was held out"
    return f"{before:.1%} before, {after:.1%} after, on {result['samples_held_out']} held-out samples"


def _settings(args: argparse.Namespace) -> Settings:
    """The options given, over those of the state that is continued, over the defaults."""
    from edge.training import Settings

    options = {
        "epochs": args.epochs,
        "learning_rate": args.lr,
        "schedule": args.lr_scheduler,
        "warmup": args.warmup,
        "augment": args.augment,
        "hold_out": args.hold_out,
        "mutate": args.mutate,
        "mutate_every": args.mutate_every,
        "gradient_weight": args.gradient_weight,
        "patience": args.patience,
        "drop_after": args.drop_after,
        "save_every": args.save_every,
    }
    given = {name: value for name, value in options.items() if value is not None}
    stored = _stored_settings(args) if args.resume else {"seed": args.seed}
    return Settings(**{**stored, **given})


def _stored_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings of the state; refuses options that contradict the plan that it pins."""
    from edge.errors import InputError
    from edge.finetune import resumable_facts

    facts = resumable_facts(args.out)
    choices = {**facts["choices"], "optimizer": facts["choices"]["optimizer"]["kind"]}
    pinned = ["batch_size", "trainable", "label_smoothing", "optimizer"]
    pinned += [] if args.replan else ["micro_batch", "recompute", "batch_norm", "threads"]
    for name in pinned:
        value = getattr(args, name)
        if value is not None and value != choices[name]:
            raise InputError(
                f"--{name.replace('_', '-')} {value}: the state {args.out} pins {choices[name]}; leave it out"
                + (", or give --replan" if name in ("micro_batch", "recompute", "batch_norm", "threads") else "")
            )
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
        left = "" if moment.seconds_left is None else f", {_duration(moment.seconds_left)} left"
        resident = "" if moment.resident_bytes is None else f", {within_budget.size(moment.resident_bytes)} resident"
        text = f"{moment.progress:4.0%}  step {moment.step}, loss {moment.loss:.4f}{resident}{left}"
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()

    def close(self) -> None:
        """Leave the line, cleared."""
        if self._last:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
