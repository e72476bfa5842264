"""The command `mest train`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mest.cli.command import Command as Base
from mest.cli.command import Context, Stopped
from mest.errors import InputError

if TYPE_CHECKING:
    from mest.tasks.task import Metric
    from mest.train.metrics import EpochRecord

NO_PATH = ""


class Command(Base):
    """Train a model sparse from the first step and leave a run directory.

    Every option may also stand in a recipe (--recipe FILE, YAML with the same names); the command line wins.
    The option names of the published scripts are accepted beside ours.
    """

    name = "train"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        from mest.train.options import GROUPS

        parser.add_argument("--recipe", type=Path, metavar="FILE", help="YAML with any of these options")
        parser.add_argument("--out", "--save-model", type=Path, metavar="RUN", help="the run directory to write")
        parser.add_argument(
            "--resume",
            nargs="?",
            const=NO_PATH,
            metavar="CHECKPOINT",
            help="continue from a checkpoint or run directory; without a path, continue --out",
        )
        parser.add_argument(
            "--from",
            dest="start",
            type=Path,
            metavar="RUN",
            help="start a new run from the weights and masks of another run, with its options as defaults",
        )
        for title, options in GROUPS.items():
            group = parser.add_argument_group(title)
            for option in options:
                flags = [f"-{option.short}"] if option.short else []
                flags += [f"--{name}" for name in option.names]
                bare = {} if option.bare is None else {"nargs": "?", "const": option.bare}
                group.add_argument(
                    *flags,
                    dest=f"option {option.key}",
                    default=argparse.SUPPRESS,
                    metavar=option.metavar,
                    help=option.help.replace("%", "%%"),
                    **bare,  # type: ignore[arg-type]
                )

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from mest.train.checkpoint import load_checkpoint
        from mest.train.observer import Observer
        from mest.train.recipe import build_config, build_execution, read_recipe
        from mest.train.start import inherited
        from mest.train.trainer import train

        if os.environ.get("RANK", "0") != "0":  # under torchrun one process speaks
            sys.stdout.flush()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the descriptor itself: whoever writes to it
            context = replace(context, progress=False, quiet=True)
        given = {key.removeprefix("option "): value for key, value in vars(args).items() if key.startswith("option ")}
        recipe = read_recipe(args.recipe) if args.recipe else {}
        if args.start is not None and args.resume is not None:
            raise InputError("--from begins a new run and --resume continues one; give one of them")
        resume = _checkpoint(args.resume, args.out)
        stored = load_checkpoint(resume)["options"] if resume else {}
        if args.start is not None:
            stored, left = inherited(args.start, {**recipe, **given})
            if left:
                context.say(f"not taken over from {args.start}: {', '.join(f'--{key}' for key in left)}")
        options = {**stored, **recipe, **given}
        config = build_config(options)
        out = args.out or (
            resume.parent.parent if resume else _default_out(config.model, config.sparse.method, config.seed)
        )
        execution = build_execution(options, out, resume, args.start)
        if execution.threads:
            import torch

            torch.set_num_threads(execution.threads)
        watch, epoch_done = _progress(context, config.data.task.metric)
        with _alone(execution.out):
            outcome = train(config, execution, options, Observer(context.stop, context.say, watch, epoch_done))
        if outcome.stopped:
            raise Stopped(
                f"stopped after {outcome.epochs} of {config.epochs} epochs; "
                f"continue with: mest train --resume --out {outcome.path}"
            )
        return outcome.summary or {"run": str(outcome.path), "epochs": outcome.epochs}

    def show(self, result: dict[str, Any]) -> str:
        if "sparsity" not in result:
            return ""
        peak = result["peak_bytes"][result["method"]] / result["peak_bytes"]["dense"]
        return (
            f"{result['run']}: {result['epochs']} epochs, test {_tested(result)}, "
            f"weight sparsity {result['sparsity']:.2%}, {peak:.1%} of the dense training memory, "
            f"{result['training_flops']['share']:.1%} of its operations{_saved(result['samples'])}"
        )


def _tested(result: dict[str, Any]) -> str:
    """The scores of the best epoch's weights on the test's images, and of the last one's."""
    from mest.tasks.registry import CLASSIFICATION, TASKS

    task = TASKS[result.get("task", CLASSIFICATION.name)]
    values = result.get("metrics") or {task.metric.key: result["accuracy"]}
    scores = ", ".join(f"{metric.label} {metric.text(values[metric.key])}" for metric in task.metrics)
    last = task.metric.text(result["accuracy_last" if task.of_classes else "metric_last"])
    return f"{scores} on {result['images']['test']:,} images (epoch {result['best_epoch']}; last {last})"


def _alone(out: Path) -> AbstractContextManager[object]:
    """The lock on a run's directory; under torchrun the process that writes holds it."""
    from edge.files.lock import holding

    return holding(out) if os.environ.get("RANK", "0") == "0" else nullcontext()


def _saved(samples: dict[str, Any]) -> str:
    """What training on fewer samples saved, where any were left out."""
    if samples["trained_presentations"] == samples["presentations_without_removal"]:
        return ""
    return (
        f", {samples['saved']:.1%} of that saved by training on {samples['active']:,} of {samples['samples']:,} samples"
    )


def _checkpoint(resume: str | None, out: Path | None) -> Path | None:
    """The checkpoint file that --resume means."""
    if resume is None:
        return None
    if resume == NO_PATH and out is None:
        raise InputError("--resume: which run? give its checkpoint or directory, or --out RUN")
    path = out if resume == NO_PATH else Path(resume)
    assert path is not None
    return path / "checkpoints" / "last.pt" if path.is_dir() or resume == NO_PATH else path


def _default_out(model: str, method: str, seed: int) -> Path:
    plain, how = ("".join(letter if letter.isalnum() else "-" for letter in text) for text in (model, method))
    return Path("runs", f"{plain}_{how}_seed{seed}")


def _progress(context: Context, metric: Metric) -> tuple[Any, Any]:
    """A bar over the batches on a terminal, and a line for each epoch anywhere."""
    from tqdm import tqdm

    def watch(items: Iterable[Any], count: int, title: str) -> Iterable[Any]:
        return tqdm(items, total=count, desc=title, leave=False, disable=not context.progress)

    def epoch_done(record: EpochRecord) -> None:
        if not context.quiet:
            validation = record.validation_accuracy
            shown = "" if validation is None else f", validation {metric.text(validation)}"
            if record.samples_removed or record.samples_restored:
                moved = [(record.samples_removed, "removed"), (record.samples_restored, "back")]
                shown += "".join(f", {count:,} samples {word}" for count, word in moved if count)
            context.say(
                f"epoch {record.epoch}: loss {record.train_loss:.4f}, training {metric.text(record.train_accuracy)}"
                f"{shown}, "
                f"sparsity {record.weight_sparsity:.4f}, {record.seconds:.1f} s"
            )

    return watch, epoch_done
