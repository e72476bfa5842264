"""A run's options gathered from a recipe and the command line, parsed once, all problems reported together."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from mest.data import DataSpec
from mest.data.dataset import TORCHVISION, data_name
from mest.errors import InputError
from mest.log import LogSpec
from mest.packaged import resolve_packaged
from mest.sparse import METHODS, Schedule, make_schedule, parse_scheme
from mest.sparse.methods import bounds_taken, find_method
from mest.tasks.registry import CLASSIFICATION, TASKS
from mest.tasks.task import Task
from mest.train.config import Execution, RemovalConfig, SparseConfig, TrainConfig
from mest.train.optimizer_options import optimizer_of
from mest.train.options import BY_NAME, OPTIONS, flag
from mest.train.problems import Problems
from mest.train.sparsify import schedule_of

MODELS_BY_ARCH = {("resnet", 20): "resnet20", ("resnet", 32): "resnet32", ("vgg", 16): "vgg16", ("vgg", 19): "vgg19"}
# What a schedule must be like for an option to act, and which bounds its method must take.
ACTS_IF: dict[str, Callable[[Schedule], bool]] = {
    **dict.fromkeys(("scheme", "sparsity", "distribution", "profile"), lambda schedule: not schedule.dense),
    **dict.fromkeys(("sp-retrain", "sp-prune-before-retrain"), lambda schedule: not schedule.dense),
    **dict.fromkeys(("sp-mask-update-freq", "score", "growth"), lambda schedule: schedule.mutates),
    "sp-lmd": lambda schedule: schedule.score == "magnitude+gradient",
}
# What asks whether a sample was answered correctly, or has one class that may be smoothed or mixed with another.
OF_CLASSES = frozenset(
    {"smooth", "label-smoothing", "mixup", "remove-n", "sorting-file", "write-ranking", "output-name"}
)
BOUNDS = {"lower-bound": "lower_bound", "upper-bound": "upper_bound", "mask-update-decay-epoch": "decay_epochs"}


def read_recipe(path: Path) -> dict[str, str]:
    """Return option texts by option key from a YAML file; raises InputError that lists every unknown key."""
    import yaml

    try:
        content = yaml.safe_load(resolve_packaged(path).read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as failed:
        reason = " ".join(str(failed).split())
        raise InputError(f"--recipe {path}: not readable as YAML ({reason})") from failed
    if not isinstance(content, dict):
        raise InputError(f"--recipe {path}: expected option names with values, found {type(content).__name__}")
    problems: list[str] = []
    options: dict[str, str] = {}
    for name, value in content.items():
        key = str(name).replace("_", "-")
        if key not in BY_NAME:
            near = get_close_matches(key, BY_NAME, 1)
            problems.append(f"unknown key {name!r}" + (f", did you mean {near[0]!r}?" if near else ""))
        elif BY_NAME[key].key in options:
            problems.append(f"{name!r} is given twice, under two of its names")
        else:
            options[BY_NAME[key].key] = _as_text(value)
    if problems:
        raise InputError(f"--recipe {path}: {'; '.join(problems)}")
    return options


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "-".join(_as_text(each) for each in value)
    if isinstance(value, float):
        return np.format_float_positional(value, trim="-")  # 5e-05 would be split at its dash
    return "" if value is None else str(value)


def parse_options(given: Mapping[str, str], problems: Problems) -> dict[str, Any]:
    """Return values by option key; texts that an option does not allow are noted."""
    values: dict[str, Any] = {}
    for option in OPTIONS:
        if option.key in given:
            try:
                values[option.key] = option.parse(given[option.key])
            except ValueError as refused:
                problems.add(f"{flag(option.key)} {given[option.key]}: {refused}")
    return values


def build_config(given: Mapping[str, str]) -> TrainConfig:
    """Return what the option texts ask for; raises InputError with every problem in one line.

    Options that contradict each other, or that cannot act with the chosen method, optimizer or schedule, are refused.
    """
    unparsed, problems = Problems(), Problems()
    values = parse_options(given, unparsed)
    method = _method(values)
    for key in values:
        if not _acts(key, method):
            acting = sorted(name for name in METHODS if _acts(key, name))
            problems.add(f"{flag(key)} does nothing with --method {method}; it acts with {', '.join(acting)}")
    epochs = values.get("epochs", 160)
    task = TASKS[values.get("task", CLASSIFICATION.name)]
    for key in OF_CLASSES.intersection(values) if not task.of_classes else ():
        if values[key] and values[key] != "0":
            problems.add(f"--{key} is of classification, and the task is {task.name}; leave it out")
    config = TrainConfig(
        model=_model(values, problems),
        data=_data(values, task, problems),
        validation_fraction=values.get("validation-fraction", TrainConfig.validation_fraction),
        epochs=epochs,
        seed=values.get("seed", 0),
        amp=values.get("amp", False),
        sparse=_sparse(values, method, epochs, problems),
        optimizer=optimizer_of(values, epochs, problems),
        removal=_removal(values, problems),
    )
    if unparsed.found:
        # What speaks of an option that has no value yet may be gone once it has one.
        without = {word for key in given if key not in values for word in re.findall(r"--[\w-]+", flag(key))}
        rest = [text for text in problems.found if not without & set(re.split(r"[\s,;:()]+", text))]
        problems = Problems([*unparsed.found, *rest])
    problems.raise_if_any()
    return config


def build_execution(given: Mapping[str, str], out: Path, resume: Path | None, start: Path | None = None) -> Execution:
    """Return where and with what to run."""
    problems = Problems()
    values = parse_options(given, problems)
    device = values.get("device", "cpu" if values.get("no-cuda") else "auto")
    if values.get("no-cuda") and device != "cpu":
        problems.add(f"--no-cuda contradicts --device {device}")
    ranking = values.get("write-ranking")
    if "output-name" in values:
        name = values["output-name"].removesuffix(".pkl") + ".pkl"
        ranking = str(Path(values.get("output-dir", out)) / name)
    elif "output-dir" in values:
        problems.add("--output-dir names a folder for the ranking; --output-name says under which name")
    if ranking is not None and Path(ranking).suffix not in (".npz", ".pkl"):
        problems.add(f"--write-ranking {ranking}: a ranking is written as .npz or .pkl")
    problems.raise_if_any()
    return Execution(
        out=out,
        device=device,
        workers=values.get("workers", 0),
        threads=values.get("threads", 0),
        resume=resume,
        start=start,
        eval_batch_size=values.get("test-batch-size", 256),
        remark=values.get("remark"),
        write_ranking=Path(ranking) if ranking is not None else None,
        log_file=Path(values["log-filename"]) if "log-filename" in values else None,
        log=values.get("log", LogSpec()),
    )


def _acts(key: str, method: str) -> bool:
    """True if an option has an effect with a method; what is wrong with the method itself is said elsewhere."""
    try:
        if key in BOUNDS:
            return BOUNDS[key] in bounds_taken(find_method(method)[0])
        return key not in ACTS_IF or ACTS_IF[key](make_schedule(method))
    except InputError:
        return True


def _method(values: Mapping[str, Any]) -> str:
    """The method asked for; the published scripts say it by their bounds alone."""
    grow_to = values.get("upper-bound")
    return str(values.get("method", "ems" if grow_to and min(grow_to) < grow_to[-1] else "em"))


def _model(values: Mapping[str, Any], problems: Problems) -> str:
    by_arch = None
    if "arch" in values or "depth" in values:
        by_arch = MODELS_BY_ARCH.get((values.get("arch"), values.get("depth")))  # type: ignore[arg-type]
        if by_arch is None:
            allowed = ", ".join(f"--arch {arch} --depth {depth}" for arch, depth in MODELS_BY_ARCH)
            problems.add(f"--arch {values.get('arch')} --depth {values.get('depth')}: allowed are {allowed}")
    model = values.get("model", by_arch or "digits")
    if by_arch and model != by_arch:
        problems.add(f"--model {model} contradicts --arch and --depth, which say {by_arch}")
    return str(model)


def _data(values: Mapping[str, Any], task: Task, problems: Problems) -> DataSpec:
    augment = values.get("augment", "crop-flip" if values.get("data-augmentation") else "auto")
    if values.get("data-augmentation") and augment != "crop-flip":
        problems.add(f"--data-augmentation contradicts --augment {augment}")
    name = data_name(values.get("data", "digits"))
    for key in ("data-dir", "download"):
        if key in values and name not in TORCHVISION:
            problems.add(f"--{key} does nothing with --data {name}; it acts with {', '.join(TORCHVISION)}")
    return DataSpec(
        name=name,
        folder=Path(values.get("data-dir", "data")),
        download=values.get("download", False),
        image_size=values.get("image-size"),
        augment=augment,
        unreadable=values.get("unreadable", "refuse"),
        task=task,
    )


def _sparse(values: Mapping[str, Any], method: str, epochs: int, problems: Problems) -> SparseConfig:
    if "profile" in values:
        for key in ("sparsity", "distribution"):
            if key in values:
                problems.add(f"--{key} contradicts --profile, which gives the sparsity of each layer")
    bounds = values.get("upper-bound", values.get("lower-bound")) or _own_bounds(method, epochs)
    config = SparseConfig(
        method=method,
        scheme=values.get("scheme", SparseConfig.scheme),
        sparsity=values.get("sparsity", bounds[-1] if bounds else SparseConfig.sparsity),
        distribution=values.get("distribution", SparseConfig.distribution),
        profile=values.get("profile"),
        prune_to=values.get("lower-bound"),
        grow_to=values.get("upper-bound"),
        decay_epochs=values.get("mask-update-decay-epoch"),
        update_every_epochs=values.get("sp-mask-update-freq", SparseConfig.update_every_epochs),
        gradient_weight=values.get("sp-lmd"),
        score=values.get("score"),
        growth=values.get("growth"),
    )
    if bounds and config.sparsity != bounds[-1]:
        problems.add(f"--sparsity {config.sparsity:g} contradicts the bounds, which end at {bounds[-1]:g}")
    if config.decay_epochs and config.decay_epochs[-1] >= epochs:
        problems.add(f"{flag('mask-update-decay-epoch')} {config.decay_epochs[-1]}: must be below --epochs {epochs}")
    if config.score is not None and config.gradient_weight is not None:
        problems.add(f"{flag('sp-lmd')} contradicts --score, which says how gradients count")
    for prefix, check in (
        ("--scheme: ", lambda: parse_scheme(config.scheme)),
        ("", lambda: schedule_of(config, epochs)),
    ):
        try:
            check()
        except InputError as refused:
            problems.add(f"{prefix}{refused}")
    return config


def _own_bounds(method: str, epochs: int) -> tuple[float, ...]:
    """The sparsities that a list of phases of one's own grows to; none of any other method."""
    try:
        return tuple(float(phase.grow_to) for phase in make_schedule(method, max(1, epochs)).bounds)
    except InputError:
        return ()


def _removal(values: Mapping[str, Any], problems: Problems) -> RemovalConfig:
    wanted = values.get("remove-n", "") not in ("", "0")
    for key in ("remove-data-epoch", "keep-lowest-n", "restore-every", "sorting-file", "input-dir"):
        if values.get(key) and not wanted:
            problems.add(f"--{key} does nothing without --remove-n")
    sorting_file = values.get("sorting-file")
    if sorting_file is None:
        for key in ("input-dir", "ranking-unchecked"):
            if values.get(key):
                problems.add(f"--{key} does nothing without --sorting-file")
    else:
        path = Path(values.get("input-dir", "."), sorting_file)
        sorting_file = str(path if path.suffix in (".npz", ".pkl") else path.with_name(path.name + ".pkl"))
    return RemovalConfig(
        remove_n=values.get("remove-n", "") if wanted else "",
        remove_data_epoch=values.get("remove-data-epoch", ""),
        keep_lowest=values.get("keep-lowest-n", 0),
        restore_every_epochs=values.get("restore-every", 0),
        sorting_file=sorting_file,
        ranking_unchecked=values.get("ranking-unchecked", False),
        track="write-ranking" in values or "output-name" in values,
    )
