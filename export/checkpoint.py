"""What is exported of a checkpoint that somebody's own loop saved: its model by name, its data as described."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.spelling import named
from edge.tasks.registry import CLASSIFICATION, TASKS
from edge.weight.parameter import SCHEMES
from export.description import describe_classes, describe_preprocess, input_problems, refuse
from export.source import Source, sparse_layer
from export.sparse_layer import SparseLayer
from export.zeros import layers_of_masks
from mest.errors import DamagedError, InputError
from mest.models import ModelSpec, build_model
from mest.sparse import masks_of, parse_scheme
from mest.tasks.registry import TASKS as MODEL_TASKS
from mest.train.plain_checkpoint import load_plain

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Described:
    """What is said about a checkpoint beside its file, as texts of the command line; None where nothing was given."""

    model: str | None = None
    input_shape: str | None = None
    class_names: str | None = None
    mean: str | None = None
    std: str | None = None
    resize: str | None = None
    crop: str | None = None
    interpolation: str | None = None
    scheme: str | None = None
    task: str | None = None


def source_of_checkpoint(path: Path, described: Described) -> Source:
    """The model of a checkpoint, its zeros or its sparsifier's masks, and what its data are.

    Raises InputError with all that is missing or wrong, DamagedError for a file that is no checkpoint.
    """
    problems = []
    for option, example in NEEDED.items():
        if getattr(described, option) is None:
            problems.append(f"{named(option)} is needed, such as {example}")
    if problems:
        raise InputError(f"{path}: is a checkpoint, no run: {'; '.join(problems)}")
    input = _whole_numbers(named("input_shape"), str(described.input_shape), problems)
    problems += input_problems(input) if not problems else []
    refuse(problems)
    task = described.task or CLASSIFICATION.name
    if task not in TASKS:
        raise InputError(f"{named('task')} {task}: allowed are {', '.join(TASKS)}")
    names = _class_names(str(described.class_names), problems)
    preprocess: dict[str, Any] = {
        name: _numbers(named(name), str(getattr(described, name)), problems) for name in ("mean", "std")
    }
    for name in ("resize", "crop"):
        if (text := getattr(described, name)) is not None:
            sides = _whole_numbers(named(name), text, problems)
            preprocess[name] = sides[0] if len(sides) == 1 else sides
    if described.interpolation is not None:
        preprocess["interpolation"] = described.interpolation
    refuse(problems)
    prepared = describe_preprocess(preprocess, input, problems)
    class_names = describe_classes(names, len(names), problems)
    refuse(problems)
    checkpoint = load_plain(path)
    spec = ModelSpec(str(described.model), len(class_names), input, MODEL_TASKS[task])
    model = build_model(spec)
    masks = checkpoint.into(model)
    model.eval()
    if checkpoint.sparsifier is None:
        layers = layers_of_masks(model, masks or masks_of(model), described.scheme or "irregular")
    elif described.scheme is not None:
        raise InputError(
            f"{named('scheme')} {described.scheme}: the sparsifier's state in {path} says it; leave it out"
        )
    else:
        layers = _layers_of_state(model, checkpoint.sparsifier, path)
    run = {"from": f"the checkpoint {path.resolve()}", "model": spec.as_dict()}
    return Source(model, layers, input, class_names, prepared, run=run, task=TASKS[task])


NEEDED = {
    "model": "mine:net",
    "input_shape": "3x32x32 (6x128 for windows of 6 channels, 40 for vectors)",
    "class_names": "cat,dog (or a file with a name a line, or how many there are)",
    "mean": "0.49,0.48,0.45 (0 where the model takes pixels / 255)",
    "std": "0.25 (1 likewise)",
}


def _layers_of_state(model: nn.Module, state: Mapping[str, Any], path: Path) -> dict[str, SparseLayer]:
    """The sparse layers that a sparsifier's state describes, with its masks."""
    weights = model.state_dict()
    layers, problems = {}, []
    try:
        for name, text in state["identity"]["layers"].items():
            scheme, _, target = text.rpartition(" ")
            mask: Tensor = state["masks"][name]
            if name not in weights or weights[name].shape != mask.shape:
                problems.append(f"{name}: the sparsifier's mask fits no weight of the model")
            elif bool(weights[name][~mask].any()):
                problems.append(f"{name}: weights outside the sparsifier's mask are not zero")
            known = scheme.partition(":")[0] in SCHEMES
            height = getattr(parse_scheme(scheme), "height", None) if known else None
            layers[name] = sparse_layer(
                name, scheme.partition(":")[0] if known else scheme, height, float(target), mask.numpy()
            )
    except (KeyError, AttributeError, TypeError, ValueError) as wrong:
        raise DamagedError(f"{path}: the sparsifier's state in it has another form ({wrong!r})") from wrong
    refuse([f"{path}: {problem}" for problem in problems])
    return layers


def _class_names(text: str, problems: list[str]) -> tuple[str, ...]:
    if text.isdecimal():
        return tuple(map(str, range(int(text))))
    if Path(text).is_file():
        return tuple(line.strip() for line in Path(text).read_text(encoding="utf-8").splitlines() if line.strip())
    names = tuple(name.strip() for name in text.split(","))
    if len(names) < 2:
        problems.append(f"{named('class_names')} {text}: neither a file nor two names or more with commas between them")
    return names


def _whole_numbers(option: str, text: str, problems: list[str]) -> tuple[int, ...]:
    parts = text.split("x")
    if not all(part.isdecimal() for part in parts):
        problems.append(f"{option} {text}: give whole numbers with x between them")
        return ()
    return tuple(map(int, parts))


def _numbers(option: str, text: str, problems: list[str]) -> float | list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        problems.append(f"{option} {text}: give a number, or one per channel with commas between them")
        return 1.0
    return numbers[0] if len(numbers) == 1 else numbers
