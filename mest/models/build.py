"""From a model's name to the model: ours, torchvision's by `torchvision:NAME`, the user's by `pkg.mod:factory`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

from mest.errors import InputError
from mest.models.digits import digits
from mest.models.logits import answer_of
from mest.models.probe import OutputError, Probe, probe
from mest.models.resnet import resnet20, resnet32
from mest.models.vgg import vgg16, vgg19
from mest.models.windows import windows
from mest.own import failure, import_own
from mest.tasks.registry import CLASSIFICATION
from mest.tasks.task import Task
from mest.torchvision import load_torchvision

MODELS: dict[str, Callable[..., nn.Module]] = {
    "digits": digits,
    "resnet20": resnet20,
    "resnet32": resnet32,
    "vgg16": vgg16,
    "vgg19": vgg19,
    "windows": windows,
}
OF_WINDOWS = frozenset({"windows"})  # those that take windows of numbers; the others take images
ALLOWED = f"{', '.join(MODELS)}, torchvision:NAME or one's own module:factory"
#: what a factory of one's own may call the number of classes and of the images' channels
CLASSES = ("num_classes", "n_classes", "classes")
CHANNELS = ("in_channels", "in_chans")
FEATURES = "in_features"  # what it may call the length of vectors


@dataclass(frozen=True)
class ModelSpec:
    """Which model, and what it must fit.

    `input` is `(channels, height, width)`, `(channels, length)` of windows or `(features,)` of vectors; `classes` how
    many channels its answers have, whatever the task makes of them.
    """

    name: str
    classes: int
    input: tuple[int, ...]
    task: Task = CLASSIFICATION

    def as_dict(self) -> dict[str, Any]:
        """The form that run.json holds."""
        named = {} if self.task is CLASSIFICATION else {"task": self.task.name}
        return {"name": self.name, "classes": self.classes, "input": list(self.input), **named}


def build_model(spec: ModelSpec, seed: int | None = None) -> nn.Module:
    """Return the named model with fresh weights, checked by one forward pass over zeros.

    With a seed the weights depend on that alone, and the global generator of torch is left as it was.
    Raises InputError for an unknown name, or a model that does not take the images or give `classes` logits.
    """
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        model = _create(spec)
    _check(model, spec)
    return model


def _create(spec: ModelSpec) -> nn.Module:
    kind, separator, rest = spec.name.partition(":")
    if not separator:
        if kind not in MODELS:
            near = get_close_matches(kind, MODELS, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"--model {kind}: no such model{hint} Allowed are {ALLOWED}")
        _check_kind(spec, 2 if kind in OF_WINDOWS else 3)
        return MODELS[kind](spec.classes, in_channels=spec.input[0])
    if kind == "torchvision":
        return _torchvision(rest, spec)
    return _own(kind, rest, spec)


def _torchvision(name: str, spec: ModelSpec) -> nn.Module:
    models = load_torchvision("models", f"--model torchvision:{name}", f"give one of {', '.join(MODELS)}")
    if name not in models.list_models(module=models):
        near = ", ".join(get_close_matches(name, models.list_models(module=models), 3)) or "see torchvision.models"
        raise InputError(f"--model torchvision:{name}: torchvision has no such classifier; near: {near}")
    _check_kind(spec, 3)
    if spec.input[0] != 3:
        raise InputError(
            f"--model torchvision:{name}: torchvision's models take 3 channels, the images have {spec.input[0]}; "
            "use a model of your own by package.module:factory"
        )
    model: nn.Module = models.get_model(name, weights=None, num_classes=spec.classes)
    return model


_KINDS = {1: "vectors (features,)", 2: "windows (channels, length)", 3: "images"}


def _check_kind(spec: ModelSpec, dimensions: int) -> None:
    """Raise InputError if the data are no entries of so many dimensions."""
    if len(spec.input) != dimensions:
        takes, hold = (_KINDS[n] for n in (dimensions, len(spec.input)))
        raise InputError(
            f"--model {spec.name}: takes {takes}, the data hold {hold} of {'x'.join(map(str, spec.input))}; "
            "use a model of your own by package.module:factory"
        )


def _own(module_name: str, attribute: str, spec: ModelSpec) -> nn.Module:
    what = f"--model {spec.name}"
    factory = import_own(what, module_name, attribute)
    if isinstance(factory, nn.Module) or not callable(factory):
        kind = "a model already" if isinstance(factory, nn.Module) else f"a {type(factory).__name__}"
        raise InputError(f"{what}: {attribute} is {kind}; give a class or a function that makes a model")
    given, missing = _arguments(factory, spec)
    if missing:
        raise InputError(
            f"{what}: {attribute} needs {', '.join(missing)}; a factory is called with one of {', '.join(CLASSES)} and "
            f"one of {', '.join(CHANNELS)}, where it takes them, so give the others defaults"
        )
    try:
        model = factory(**given)
    except Exception as failed:  # it is the user's code: whatever it raises is said in one line
        raise InputError(f"{what}: {failure(f'calling {attribute}', failed)}") from failed
    if not isinstance(model, nn.Module):
        raise InputError(f"{what}: {attribute} returned {type(model).__name__}, not a torch.nn.Module")
    return model


def _arguments(factory: Callable[..., Any], spec: ModelSpec) -> tuple[dict[str, int], list[str]]:
    """What a factory is called with, and the arguments that it needs beside."""
    try:
        taken = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # written in C, say
        return {"num_classes": spec.classes}, []
    by_name = {name for name, parameter in taken.items() if parameter.kind in _BY_NAME}
    given = {name: spec.classes for name in CLASSES if name in by_name}
    if not given and any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in taken.values()):
        given = {"num_classes": spec.classes}
    names = (*CHANNELS, FEATURES) if len(spec.input) == 1 else CHANNELS
    given |= {name: spec.input[0] for name in names if name in by_name}
    missing = [
        name
        for name, parameter in taken.items()
        if parameter.default is inspect.Parameter.empty and parameter.kind not in _VARIADIC and name not in given
    ]
    return given, missing


_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def look_at(model: nn.Module, spec: ModelSpec) -> Probe:
    """Return what one evaluation and one training pass say; raises InputError where the model cannot be trained."""
    try:
        return probe(model, spec.input)
    except OutputError as odd:
        wanted = f"(n, {spec.classes}) logits, alone or before those of auxiliary classifiers"
        if spec.task is not CLASSIFICATION:
            wanted = f"{('n', *spec.task.output(spec.classes, spec.input))} alone".replace("'", "")
        raise InputError(f"--model {spec.name}: {odd}, expected {wanted}") from odd
    except Exception as failed:
        raise InputError(f"--model {spec.name}: cannot be trained ({_reason(failed)})") from failed


def _reason(failed: Exception) -> str:
    """The first line of what an exception says, or its kind."""
    text = str(failed).strip()
    return text.splitlines()[0] if text else type(failed).__name__


def _check(model: nn.Module, spec: ModelSpec) -> None:
    try:
        classes = answer_of(model, spec.input, spec.task)[0]
    except InputError as refused:
        raise InputError(f"--model {spec.name}: {refused}") from refused
    if classes != spec.classes:
        raise InputError(
            f"--model {spec.name}: gives {classes} logits for an image, the data have {spec.classes} classes"
            if spec.task is CLASSIFICATION
            else f"--model {spec.name}: gives answers of {classes} channels, the data have {spec.classes}"
        )
