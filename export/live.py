"""From a model in one's own program to an artifact: the way out of a training loop. `returned` is the way back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from edge.data.preprocess import ARRAY
from edge.handover.manifest import Manifest
from edge.plan.choices import OptimizerChoice
from edge.tasks.registry import TASKS
from export.artifact import export_artifact
from export.description import describe_classes, describe_preprocess, input_problems, refuse
from export.options import Options
from export.source import Source, rule_notes
from export.sparse_layer import SparseLayer
from export.zeros import checked_layers, layers_of_masks
from mest.errors import InputError
from mest.models.copied import copy_of
from mest.models.logits import answer_of
from mest.sparse import Sparsifier
from mest.sparse.given_masks import masks_of
from mest.sparse.layers import bare
from mest.tasks.registry import TASKS as MODEL_TASKS

FROM_PROGRAM = "a model in a program"


def export_model(
    model: nn.Module,
    out: str | Path,
    *,
    example_input: Tensor | np.ndarray | Sequence[int],
    preprocess: Mapping[str, Any] | None = None,
    class_names: Sequence[str] | None = None,
    sparsifier: Sparsifier | None = None,
    masks: Mapping[str, object] | None = None,
    scheme: str = "irregular",
    optimizer: torch.optim.Optimizer | OptimizerChoice | Mapping[str, Any] | str | None = None,
    label_smoothing: float = 0.0,
    trainable: str = "all",
    format: str = "auto",
    mutate: str | None = None,
    recompute: str = "none",
    task: str = "classification",
    say: Callable[[str], None] = lambda message: None,
) -> Manifest:
    """Write the artifact of a model, verified as `mest export` verifies, and return its manifest; the model stays.

    `example_input` is a batch of images `(n, channels, height, width)`, one image, or the shape of one input: that of
    a window is `(channels, length)`, of a vector `(features,)`. `preprocess` has `mean` and `std`, and if need be
    `resize`, `crop`, `mode` and `interpolation`; with mode "array" a batch may be `(n, channels, length)`, and what has
    three dimensions is no image but numbers, such as a spectrogram. `class_names` are numbers unless given. What is
    sparse is said by `sparsifier`, or by `masks` of scheme `scheme`, or else by the model's own zeros. `optimizer` is
    what the board continues with: a torch optimizer, "sgd", "adamw", or constants.
    `trainable`, `format`, `mutate` and `recompute` are the options of `mest export`; `task` is what the board trains it
    for, classification unless given (docs/tasks.md).

    Raises InputError with all that is wrong, DisagreementError where an engine's result differs; nothing is written.
    """
    module = bare(model)
    problems: list[str] = []
    choice = _optimizer(optimizer, problems)
    if task not in TASKS:
        problems.append(f"task {task!r}: allowed are {', '.join(TASKS)}")
    elif label_smoothing and not TASKS[task].of_classes:
        problems.append(f"label_smoothing {label_smoothing}: is of classification, the task is {task}; leave it out")
    if not 0 <= label_smoothing < 1:
        problems.append(f"label_smoothing {label_smoothing}: allowed are 0 to below 1")
    mode = (preprocess or {}).get("mode")
    input = _input(example_input, mode)
    copied = _copied(module)
    layers: dict[str, SparseLayer] = {}
    try:
        layers = _layers(module, copied, sparsifier, masks, scheme)
    except InputError as refused:
        problems.append(str(refused))
    refuse([*input_problems(input, mode), *problems])
    try:
        classes = answer_of(copied, input, MODEL_TASKS[task])[0]
    except InputError as refused:
        raise InputError(f"the model {refused}") from refused
    source = Source(
        model=copied,
        layers=layers,
        input=input,
        class_names=describe_classes(class_names, classes, problems),
        preprocess=describe_preprocess(preprocess, input, problems),
        optimizer=choice,
        label_smoothing=float(label_smoothing),
        run={"from": FROM_PROGRAM, "model": type(module).__name__, "sparsifier": position(sparsifier)},
        notes=rule_notes(sparsifier.score.name, sparsifier.growth.name) if sparsifier else (),
        task=TASKS[task],
    )
    refuse(problems)
    options = Options(format=format, trainable=trainable, room=mutate, recompute=recompute)
    return export_artifact(source, Path(out), options, say)


def position(sparsifier: Sparsifier | None) -> dict[str, Any] | None:
    """Where a sparsifier is in its run, and which run that is, as plain JSON."""
    if sparsifier is None:
        return None
    state = sparsifier.state_dict()
    return {name: state[name] for name in ("identity", "epoch", "finished")}


def _input(example: Tensor | np.ndarray | Sequence[int], mode: Any) -> tuple[int, ...]:
    """The shape of one input. Three dimensions of numbers are one image's, or with mode "array" a batch of windows."""
    numbers = isinstance(example, Tensor | np.ndarray)
    shape = tuple(example.shape) if isinstance(example, Tensor | np.ndarray) else tuple(example)
    if not all(isinstance(side, int) for side in shape):
        raise InputError("example_input: give a batch of images, one image, or the shape of one input")
    batch = len(shape) == 4 or (numbers and (len(shape) == 2 or (len(shape) == 3 and mode == ARRAY)))
    return shape[1:] if batch else shape


def _layers(
    module: nn.Module,
    copied: nn.Module,
    sparsifier: Sparsifier | None,
    masks: Mapping[str, object] | None,
    scheme: str,
) -> dict[str, SparseLayer]:
    """The sparse layers of a model, by weight name; what is outside their masks is zero in its copy."""
    if sparsifier is None:
        return layers_of_masks(copied, masks_of(module) if masks is None else masks, scheme)
    if masks is not None:
        raise InputError("give either a sparsifier or masks")
    if not sparsifier.holds(module):
        raise InputError(
            "the sparsifier holds another model than this one; give the model that it was made with, or an average of"
            " it that was given to attach_average"
        )
    described = ((layer.name, layer.scheme, layer.target_sparsity) for layer in sparsifier.layers())
    return checked_layers(copied, described, sparsifier.masks)


def _copied(module: nn.Module) -> nn.Module:
    """A float32 copy on the CPU; weights that `torch.nn.utils.prune` computes are plain parameters in it."""
    try:
        copied = copy_of(module).cpu().float()
    except (RuntimeError, TypeError, NotImplementedError) as failed:
        reason = (str(failed).strip() or type(failed).__name__).splitlines()[0]
        raise InputError(f"the model cannot be copied ({reason}); keep only parameters and buffers in it") from failed
    for part in copied.modules():
        for name in _pruned_names(part):
            prune.remove(part, name)
    return copied


def _pruned_names(part: nn.Module) -> list[str]:
    return [name.removesuffix("_mask") for name in part._buffers if name.endswith("_mask") and _is_pruned(part, name)]


def _is_pruned(part: nn.Module, buffer: str) -> bool:
    return f"{buffer.removesuffix('_mask')}_orig" in part._parameters


def _optimizer(given: Any, problems: list[str]) -> OptimizerChoice:
    """The optimizer that a board continues with; what it has not goes to `problems`."""
    if given is None:
        return OptimizerChoice()
    if isinstance(given, OptimizerChoice):
        return given
    constants = _constants_of(given, problems) if isinstance(given, torch.optim.Optimizer) else given
    constants = {"kind": constants} if isinstance(constants, str) else dict(constants)
    known = [field.name for field in fields(OptimizerChoice)]
    if odd := [str(name) for name in constants if name not in known]:
        problems.append(f"optimizer: unknown {', '.join(odd)}; allowed are {', '.join(known)}")
        return OptimizerChoice()
    if constants.get("kind", "sgd") not in ("sgd", "adamw"):
        problems.append(f"optimizer {constants['kind']!r}: a board has sgd and adamw; give one of them")
        return OptimizerChoice()
    choice = replace(OptimizerChoice(), **constants)
    below_one = {"momentum": choice.momentum, "beta1": choice.beta1, "beta2": choice.beta2}
    for name, value in below_one.items():
        if not 0 <= value < 1:
            problems.append(f"optimizer: {name} {value}; allowed are 0 to below 1")
    if not 0 <= choice.weight_decay < math.inf or not 0 < choice.epsilon < math.inf:
        problems.append("optimizer: weight_decay must be 0 or more, epsilon above 0")
    if choice.kind == "sgd" and choice.nesterov and not choice.momentum:
        problems.append("optimizer: nesterov needs a momentum above 0")
    return choice


def _constants_of(optimizer: torch.optim.Optimizer, problems: list[str]) -> dict[str, Any]:
    kinds = {"SGD": "sgd", "Adam": "adamw", "AdamW": "adamw"}
    name = type(optimizer).__name__
    if name not in kinds:
        problems.append(f"optimizer {name}: a board has sgd and adamw; give optimizer='sgd' or 'adamw'")
        return {}
    groups = optimizer.param_groups
    wanted = ("momentum", "nesterov", "weight_decay", "dampening", "betas", "eps", "amsgrad", "maximize")
    first = {key: groups[0][key] for key in wanted if key in groups[0]}
    if odd := sorted({key for group in groups for key in first if group[key] != first[key]}):
        problems.append(
            f"optimizer: its groups differ in {', '.join(odd)}, a board has one for all; give the constants, such as "
            f"optimizer={{'kind': {kinds[name]!r}, 'weight_decay': {first.get('weight_decay', 0)}}}"
        )
    for key in ("dampening", "amsgrad", "maximize"):
        if first.get(key):
            problems.append(f"optimizer: a board has no {key}; give optimizer='sgd' or 'adamw'")
    if name == "Adam" and first["weight_decay"]:
        problems.append("optimizer: Adam's weight decay goes through the gradient, a board's does not; give 'adamw'")
    constants: dict[str, Any] = {"kind": kinds[name], "weight_decay": float(first.get("weight_decay", 0))}
    if kinds[name] == "sgd":
        return {**constants, "momentum": float(first["momentum"]), "nesterov": bool(first["nesterov"])}
    beta1, beta2 = (float(beta) for beta in first["betas"])
    return {**constants, "beta1": beta1, "beta2": beta2, "epsilon": float(first["eps"])}
