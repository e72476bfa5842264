"""From a model's name to the model: ours, torchvision's by `torchvision:NAME`, the user's by `pkg.mod:factory`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mest.errors import InputError
from mest.models.digits import digits
from mest.models.resnet import resnet20, resnet32
from mest.models.vgg import vgg16, vgg19
from mest.torchvision import load_torchvision

MODELS: dict[str, Callable[..., nn.Module]] = {
    "digits": digits,
    "resnet20": resnet20,
    "resnet32": resnet32,
    "vgg16": vgg16,
    "vgg19": vgg19,
}
ALLOWED = f"{', '.join(MODELS)}, torchvision:NAME or package.module:factory"


@dataclass(frozen=True)
class ModelSpec:
    """Which model, and what it must fit: `input` is `(channels, height, width)`."""

    name: str
    classes: int
    input: tuple[int, int, int]

    def as_dict(self) -> dict[str, Any]:
        """The form that run.json holds."""
        return {"name": self.name, "classes": self.classes, "input": list(self.input)}


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
        return MODELS[kind](spec.classes, in_channels=spec.input[0])
    if kind == "torchvision":
        return _torchvision(rest, spec)
    return _own(kind, rest, spec)


def _torchvision(name: str, spec: ModelSpec) -> nn.Module:
    models = load_torchvision("models", f"--model torchvision:{name}", f"give one of {', '.join(MODELS)}")
    if name not in models.list_models(module=models):
        near = ", ".join(get_close_matches(name, models.list_models(module=models), 3)) or "see torchvision.models"
        raise InputError(f"--model torchvision:{name}: torchvision has no such classifier; near: {near}")
    if spec.input[0] != 3:
        raise InputError(
            f"--model torchvision:{name}: torchvision's models take 3 channels, the images have {spec.input[0]}; "
            "use a model of your own by package.module:factory"
        )
    model: nn.Module = models.get_model(name, weights=None, num_classes=spec.classes)
    return model


def _own(module_name: str, attribute: str, spec: ModelSpec) -> nn.Module:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as missing:
        if missing.name is None or not module_name.startswith(missing.name):
            raise
        raise InputError(f"--model {spec.name}: no module {missing.name}; allowed are {ALLOWED}") from missing
    factory = getattr(module, attribute, None)
    if not callable(factory):
        near = ", ".join(get_close_matches(attribute, vars(module), 3)) or "nothing near that name"
        raise InputError(f"--model {spec.name}: {module_name} has no callable {attribute!r}; it has {near}")
    options = {"num_classes": spec.classes, "in_channels": spec.input[0]}
    taken = inspect.signature(factory).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in taken.values()):
        options = {"num_classes": spec.classes}
    model = factory(**{name: value for name, value in options.items() if name in taken or name == "num_classes"})
    if not isinstance(model, nn.Module):
        raise InputError(f"--model {spec.name}: the factory returned {type(model).__name__}, not a torch.nn.Module")
    return model


def _check(model: nn.Module, spec: ModelSpec) -> None:
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            logits = model(torch.zeros(1, *spec.input))
    except RuntimeError as failed:
        shape = "x".join(map(str, spec.input))
        reason = str(failed).splitlines()[0]
        raise InputError(f"--model {spec.name}: does not take images of {shape} ({reason})") from failed
    finally:
        model.train(training)
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != (1, spec.classes):
        given = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise InputError(f"--model {spec.name}: gives {given} for one image, expected (1, {spec.classes}) logits")
