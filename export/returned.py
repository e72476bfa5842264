"""What a board has trained goes back into the model and the sparsifier of one's own loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edge.handover.artifact import Artifact, open_artifact
from edge.handover.state import read_state
from edge.weight.parameter import Parameter
from export.description import refuse
from export.restore import layer_weights, state_parameters, whole_parameter
from mest.sparse import Sparsifier
from mest.sparse.given_masks import of_whole_units
from mest.sparse.layers import bare


@dataclass(frozen=True)
class Restored:
    """What came back: the masks by weight name as the board left them, the engine, and how many tensors were set."""

    engine: str
    tensors: int
    masks: dict[str, Tensor] = field(repr=False)


def restore_state(state: str | Path, model: nn.Module, sparsifier: Sparsifier | None = None) -> Restored:
    """Put a board's weights and batch-norm statistics into `model`, its masks and position into `sparsifier`.

    The model is the one that was exported, or one made in the same way; with the sparsifier that was exported, or one
    made in the same way, training goes on at the next epoch. To begin another run instead, give none here and start
    one with `mest.sparsify(..., masks=restored.masks)`. Removed filters that a board does not have keep the values that
    the model has. Optimizer state is not touched.

    Raises InputError with all that does not fit, DamagedError for a damaged state; the model is as before then.
    """
    artifact, saved = open_artifact(Path(state)), read_state(Path(state))
    parameters = state_parameters(artifact, saved)
    module = bare(model)
    stored = module.state_dict()
    constants, weights = artifact.network.constants(), layer_weights(artifact)
    problems: list[str] = []
    values: dict[str, Tensor] = {}
    masks: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        kept = artifact.manifest.run["kept"].get(name)
        if name not in stored:
            if name not in constants:
                problems.append(f"{name}: the model has no parameter of this name")
        elif expected := _unfit(tuple(stored[name].shape), parameter, kept):
            problems.append(f"{name}: {expected}")
        else:
            before = stored[name].detach().float().cpu().numpy()
            array, mask = whole_parameter(before, parameter, kept, name in weights)
            values[name] = torch.from_numpy(array)
            if mask is not None:
                masks[name] = torch.from_numpy(mask)
    if sparsifier is not None:
        problems += _sparsifier_problems(artifact, module, sparsifier, masks)
    refuse([f"{state}: {problem}" for problem in problems])
    position = None if sparsifier is None else _position(artifact, sparsifier, masks, values)
    with torch.no_grad():
        for name, value in values.items():
            stored[name].copy_(value)
    if sparsifier is not None and position is not None:
        sparsifier.load_state_dict(position)
    return Restored(str(saved.facts["engine"]), len(values), masks)


def _unfit(shape: tuple[int, ...], parameter: Parameter, kept: Mapping[str, Any] | None) -> str | None:
    """Why a parameter is none of a weight of this shape, of which export kept these channels; None if it is."""
    found = tuple(parameter.shape)
    if len(found) == len(shape) + 1 and found[-2] == 1:
        found = (*found[:-2], found[-1])  # kernels of windows, which have a row in the network
    if kept is None:
        return None if found == shape else f"the model's has shape {shape}, the board's {found}"
    highest = {axis: max(kept[key] or [0]) for axis, key in ((0, "outputs"), (1, "inputs"))}
    if any(axis < len(shape) and entry >= shape[axis] for axis, entry in highest.items()) or len(found) != len(shape):
        return f"the model's has shape {shape}, too small for the channels that export kept"
    return None


def _sparsifier_problems(
    artifact: Artifact, module: nn.Module, sparsifier: Sparsifier, masks: Mapping[str, Tensor]
) -> list[str]:
    if sparsifier.model is not module:
        return ["the sparsifier holds another model than the one given"]
    problems = [f"{name}: is sparse on the board and dense here" for name in masks if name not in sparsifier.masks]
    schemes = {layer.name: layer.scheme for layer in sparsifier.layers()}
    for name, mask in masks.items():
        if name in schemes and not of_whole_units(schemes[name], mask):
            problems.append(f"{name}: the board's mask is not made of whole units of scheme {schemes[name]}")
    was = (artifact.manifest.run.get("sparsifier") or {}).get("identity")
    if was is not None and was != sparsifier.state_dict()["identity"]:
        problems.append(
            "the sparsifier is not set up as the one that was exported; set it up so, or restore without it and start "
            "another run with mest.sparsify(..., masks=...)"
        )
    return problems


def _position(
    artifact: Artifact, sparsifier: Sparsifier, masks: Mapping[str, Tensor], values: Mapping[str, Tensor]
) -> dict[str, Any]:
    """The sparsifier's state with a board's masks, where the one that was exported stood if that is known.

    Gradients are left out: they are of weights from before the board.
    """
    state = sparsifier.state_dict()
    counts = {name: int(values[name].count_nonzero()) for name in state["nonzeros"] if name in values}
    was = artifact.manifest.run.get("sparsifier") or {}
    return {
        **state,
        "epoch": was.get("epoch", state["epoch"]),
        "finished": was.get("finished", state["finished"]),
        "masks": {**state["masks"], **masks},
        "gradients": {},
        "nonzeros": {**state["nonzeros"], **counts},
    }
