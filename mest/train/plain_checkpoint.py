"""A checkpoint that somebody's own loop saved with torch.save: weights, and a sparsifier's state if it is there."""

from __future__ import annotations

import pickle  # noqa: TID251 - for the error that torch raises; nothing is unpickled here
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mest.errors import DamagedError, InputError

#: the keys under which loops keep a model's weights
WEIGHT_KEYS = ("model", "state_dict", "model_state_dict", "net", "weights")
WRAPPERS = ("module.", "_orig_mod.")


@dataclass(frozen=True, eq=False)
class PlainCheckpoint:
    """Weights by parameter name, as they were saved, and what `Sparsifier.state_dict` gave, if it was saved too."""

    path: Path
    weights: dict[str, Tensor]
    sparsifier: dict[str, Any] | None

    def into(self, model: nn.Module) -> dict[str, Tensor]:
        """Put the weights into a model made as the saved one was; return the masks of `torch.nn.utils.prune`.

        Prefixes of wrappers go, and one that all names have in common. Raises InputError with the names that differ.
        """
        weights, masks = _without_prune(_named_as(self.weights, model))
        expected = model.state_dict()
        problems = [f"lacks {name}" for name in expected if name not in weights]
        problems += [f"has {name}, the model has not" for name in weights if name not in expected]
        problems += [
            f"{name} is {tuple(weight.shape)}, the model's {tuple(expected[name].shape)}"
            for name, weight in weights.items()
            if name in expected and weight.shape != expected[name].shape
        ]
        if problems:
            more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
            raise InputError(f"{self.path}: {'; '.join(problems[:3])}{more}; give the --model that it was saved from")
        model.load_state_dict(weights)
        return masks


def load_plain(path: Path) -> PlainCheckpoint:
    """The checkpoint in a file, tensors on the CPU; nothing in it is run.

    Raises InputError if it has no weights, DamagedError if it is not readable or holds more than tensors and plain
    values.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 - weights only
    except pickle.UnpicklingError as refused:
        raise DamagedError(
            f"{path}: holds more than tensors and plain values, which is never run; save it anew with "
            "torch.save(model.state_dict(), ...)"
        ) from refused
    except Exception as failed:  # whatever a damaged or foreign file makes torch raise
        reason = str(failed).splitlines()[0][:120] if str(failed) else type(failed).__name__
        raise DamagedError(f"{path}: not a readable checkpoint of torch.save ({reason})") from failed
    if isinstance(content, dict) and str(content.get("schema", "")).startswith("mest-checkpoint/"):
        raise InputError(f"{path}: is a checkpoint of mest train; give the run's directory")
    found = content if _are_weights(content) else None
    entries = content if isinstance(content, dict) else {}
    for key in WEIGHT_KEYS:
        if found is None and _are_weights(entries.get(key)):
            found = entries[key]
    if found is None:
        raise InputError(
            f"{path}: no weights in it; a checkpoint is a model's state_dict, or a dict with one under "
            f"{', '.join(WEIGHT_KEYS)}"
        )
    states = [entry for entry in entries.values() if isinstance(entry, dict) and _is_sparsifier(entry)]
    return PlainCheckpoint(path, dict(found), states[0] if states else None)


def _are_weights(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    )


def _is_sparsifier(entry: Mapping[str, Any]) -> bool:
    return str(entry.get("schema", "")).startswith("mest-sparsifier/")


def _named_as(weights: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    named = dict(weights)
    while prefix := next((each for each in WRAPPERS if all(name.startswith(each) for name in named)), None):
        named = {name.removeprefix(prefix): value for name, value in named.items()}
    first = {name.partition(".")[0] for name in named}
    if len(first) == 1 and not first & {name.partition(".")[0] for name in model.state_dict()}:
        named = {name.partition(".")[2]: value for name, value in named.items()}
    return named


def _without_prune(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights as `torch.nn.utils.prune` computes them from `NAME_orig` and `NAME_mask`, and those masks."""
    plain, masks = {}, {}
    for name, value in weights.items():
        whole = name.removesuffix("_orig")
        mask = weights.get(f"{whole}_mask")
        if name != whole and mask is not None:
            plain[whole] = value * mask
            if whole.endswith("weight"):
                masks[whole] = mask.bool()
        elif not (name.endswith("_mask") and f"{name.removesuffix('_mask')}_orig" in weights):
            plain[name] = value
    return plain, masks
