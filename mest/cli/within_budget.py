"""Options that every command with an engine and a budget shares, and how their answers are written for a person."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mest.cli.command import Context
from mest.cli.spelling import setting

if TYPE_CHECKING:
    from edge.handover.artifact import Artifact
    from edge.plan.choices import OptimizerChoice
    from edge.plan.search import Request
    from edge.run.settings import Settings
    from mest.cli.command import Context


def add_engine(parser: argparse.ArgumentParser) -> None:
    """--engine, --memory-budget and --threads."""
    parser.add_argument(
        "--engine", choices=("auto", "native", "ort"), default="auto", help="default auto: the fastest that fits"
    )
    add_budget(parser, of="the process")
    parser.add_argument("--threads", type=int, help="threads of the engine (default: one per core)")


def add_budget(parser: argparse.ArgumentParser, of: str) -> None:
    """--memory-budget."""
    parser.add_argument(
        "--memory-budget",
        metavar="SIZE",
        help=f"the most resident memory that {of} may ever use, for example 64MiB (default: no budget)",
    )


def epochs_or_share(given: str) -> float:
    """A warm-up: a share of the run below 1, or a whole number of epochs."""
    value = float(given)
    if not (0 <= value < 1 or (math.isfinite(value) and value >= 1 and value == int(value))):
        raise argparse.ArgumentTypeError(f"{given}: must be a share of the run below 1, or a whole number of epochs")
    return value


def warmup_share(warmup: float, epochs: int) -> float:
    """The share of a run of `epochs` that a warm-up takes; raises InputError for one that leaves nothing."""
    from edge.errors import InputError

    if warmup < 1:
        return warmup
    if warmup >= epochs:
        raise InputError(f"--warmup {warmup:g}: must be below --epochs {epochs}")
    return warmup / epochs


def milestones(given: str) -> tuple[int, ...]:
    """Epochs joined by `-` as published, or by commas; raises InputError for anything else."""
    from edge.errors import InputError

    parts = [part.strip() for part in given.replace("-", ",").split(",")]
    if not all(part.isdecimal() for part in parts):
        raise InputError(f"--lr-milestones {given}: give epochs that rise from 1 (3-5)")
    return tuple(int(part) for part in parts)


def add_course(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """How a run goes, whoever trains it; the group, for what one command has beside."""
    run = parser.add_argument_group("the run")
    run.add_argument("--epochs", type=int, help="default 5")
    run.add_argument("--lr", type=float, help="peak learning rate (default 0.01)")
    run.add_argument(
        "--lr-scheduler",
        choices=("cosine", "linear", "constant", "step"),
        help="learning-rate schedule (default cosine)",
    )
    run.add_argument(
        "--lr-milestones",
        metavar="EPOCHS",
        help="step: epochs at which the learning rate drops (default 80-120, scaled)",
    )
    run.add_argument("--lr-gamma", type=float, metavar="SHARE", help="step: factor of each drop (default 0.1)")
    run.add_argument(
        "--warmup",
        type=epochs_or_share,
        metavar="WARMUP",
        help="linear warm-up: epochs, or a share of the run below 1 (default 0)",
    )
    run.add_argument(
        "--augment",
        type=lambda given: given.replace("+", "-"),
        choices=("none", "crop", "flip", "crop-flip"),
        help="random crops (shifts) and flips (default none)",
    )
    run.add_argument(
        "--hold-out",
        "--validation-fraction",
        type=float,
        metavar="SHARE",
        help="share of the samples held out to measure accuracy (default 0.1); of an npz file that marks test samples, "
        "those are held out",
    )
    run.add_argument("--save-every", type=int, metavar="STEPS", help="steps between states (default 100)")
    return run


def add_ends(run: argparse._ArgumentGroup) -> None:
    """When a run, and training on samples, ends before it is through."""
    run.add_argument(
        "--patience",
        type=int,
        metavar="EPOCHS",
        help="stop early after this many epochs without improvement, and keep the best epoch",
    )
    run.add_argument(
        "--drop-after",
        type=int,
        metavar="EPOCHS",
        help="after this many epochs, drop samples that were never forgotten; until then every step costs one more "
        "forward pass",
    )


def add_pins(parser: argparse.ArgumentParser) -> None:
    """What the plan would choose, for a user who wants it otherwise."""
    pins = parser.add_argument_group("to pin the plan")
    pins.add_argument("--batch-size", type=int, help="samples per optimizer step (default 32)")
    pins.add_argument("--micro-batch", type=int, help="samples per forward and backward pass")
    pins.add_argument(
        "--recompute", choices=("none", "activations", "blocks"), help="what the backward pass recomputes"
    )
    pins.add_argument(
        "--saved",
        choices=("float32", "bfloat16", "int8"),
        help="how tensors are kept from forward to backward: fewer bits take less memory and round the gradients",
    )
    pins.add_argument("--batch-norm", choices=("train", "frozen"), help="batch norm statistics (default train)")
    pins.add_argument("--trainable", help="all, last:N, bias or a regular expression over parameter names")
    pins.add_argument("--optimizer", choices=("sgd", "adamw"), help="default: as exported")
    pins.add_argument("--momentum", type=float, help="of sgd (default: as exported)")
    pins.add_argument(
        "--nesterov", action=argparse.BooleanOptionalAction, help="Nesterov momentum of sgd (default: as exported)"
    )
    pins.add_argument("--weight-decay", type=float, help="default: as exported")
    pins.add_argument("--label-smoothing", type=float, help="default: as exported")
    pins.add_argument("--exact", action="store_true", help="forbid plans that change the result")
    pins.add_argument("--mutate", choices=("none", "em", "ems"), help="prune and grow while training (default none)")


def add_mutation(run: argparse._ArgumentGroup) -> None:
    """How often weights move, and which stay."""
    run.add_argument(
        "--mutate-every-steps",
        "--mutate-every",
        dest="mutate_every",
        type=int,
        metavar="STEPS",
        help="steps from one mutation to the next (default 50)",
    )
    run.add_argument(
        "--gradient-weight", type=float, metavar="WEIGHT", help="λ of the score |w| + λ·|gradient| (default 0)"
    )


def add_unreadable(parser: argparse.ArgumentParser) -> None:
    """--unreadable."""
    parser.add_argument(
        "--unreadable",
        choices=("refuse", "skip"),
        default="refuse",
        help="images that cannot be read: refuse names the first, skip leaves them out (default refuse)",
    )


def budget_bytes(args: argparse.Namespace) -> int | None:
    """The budget in bytes, None without one."""
    from edge.host.limits import parse_size

    return None if args.memory_budget is None else parse_size(args.memory_budget)


def say_unknown(args: argparse.Namespace, context: Context) -> None:
    """Say what cannot be known of this process's memory, where that is so."""
    from edge.host.counters import caveat, untrusted_reason

    unknown = caveat(untrusted_reason(), budget_bytes(args))
    if unknown is not None:
        context.say(unknown)


def threads(args: argparse.Namespace) -> int:
    """The number of threads asked for, or one per core that this process may use."""
    return args.threads if args.threads is not None else len(os.sched_getaffinity(0))


def request(args: argparse.Namespace, artifact: Artifact) -> Request:
    """What the planner is asked, with the optimizer and the label smoothing of the artifact where none is given."""
    from edge.plan.search import Request

    smoothing = artifact.manifest.label_smoothing if args.label_smoothing is None else args.label_smoothing
    return Request(
        batch_size=32 if args.batch_size is None else args.batch_size,
        micro_batch=args.micro_batch,
        recompute=args.recompute,
        saved=args.saved,
        batch_norm=args.batch_norm,
        trainable=args.trainable,
        threads=threads(args),
        optimizer=optimizer(args, artifact),
        label_smoothing=smoothing,
        exact=args.exact,
    )


def optimizer(args: argparse.Namespace, artifact: Artifact) -> OptimizerChoice:
    """The optimizer as exported, with what the options change; another kind starts from that kind's defaults."""
    from dataclasses import replace

    from edge.plan.choices import OptimizerChoice

    exported = artifact.optimizer
    chosen = exported if args.optimizer in (None, exported.kind) else OptimizerChoice(kind=args.optimizer)
    given = {name: getattr(args, name) for name in ("momentum", "nesterov", "weight_decay")}
    return replace(chosen, **taken(chosen.kind, {name: value for name, value in given.items() if value is not None}))


def taken(kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """The constants of an optimizer as given; raises InputError for one that this kind does not have."""
    from edge.errors import InputError

    ignored = [] if kind == "sgd" else [f"--{name}" for name in ("momentum", "nesterov") if name in given]
    if ignored:
        raise InputError(f"{' and '.join(ignored)}: only sgd has it, the optimizer is {kind}; leave it out")
    return given


def settings(args: argparse.Namespace, stored: Mapping[str, Any] = MappingProxyType({})) -> Settings:
    """How a run is trained: the options given, over what is stored of the run that is continued, over the defaults."""
    from dataclasses import fields

    from edge.run.settings import Settings

    asked = {setting(name): value for name, value in {**vars(args), "seed": args.seed_given}.items()}
    given = {each.name: asked[each.name] for each in fields(Settings) if asked.get(each.name) is not None}
    if "warmup" in given:
        given["warmup"] = warmup_share(given["warmup"], {**vars(Settings()), **given, **stored}["epochs"])
    if "milestones" in given:
        given["milestones"] = milestones(given["milestones"])
    return Settings(**{**stored, **given})


def judged(result: dict[str, Any], context: Context) -> dict[str, Any]:
    """The result of a run; one that passed its budget ends with exit code 3 and says so."""
    budget, measured = result.get("budget_bytes"), result.get("measured_peak_bytes")
    passed = budget is not None and measured is not None and measured > budget
    if not passed and result.get("within_budget") is not False:
        return result
    what = f"measured peak {size(measured)}" if passed else f"{size(result['swap_peak_bytes'])} were in swap"
    context.say(f"the memory budget of {size(budget)} was not kept: {what}; what was done is kept, give more next time")
    return {**result, "exit_code": 3}


def data_path(where: str) -> str:
    """The file of a data set that comes with the package, by its name; anything else as it is."""
    from mest.packaged import DATA_SETS

    return str(DATA_SETS.get(where, where))


def size(nbytes: int | None, reason: str | None = None) -> str:
    """Bytes for a person."""
    from edge.host.limits import format_size

    return format_size(nbytes) if nbytes is not None else f"not known ({reason})" if reason else "not known"


def columns(rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns are as wide as their longest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def table(rows: list[tuple[str, Any]]) -> str:
    """Two columns, the first as wide as its longest word; rows without an answer are left out."""
    shown = [(name, str(value)) for name, value in rows if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in shown)
