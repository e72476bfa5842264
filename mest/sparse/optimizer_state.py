"""The state that an optimizer keeps for a weight: which of it belongs to single weights, and how it begins."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mest.sparse.inner_optimizers import optimizers_in

#: no two extents are equal, so that state with an entry for every weight is told from a square of channels
_TINY = (2, 3, 4, 5, 6)


@dataclass(frozen=True)
class Beginning:
    """How one entry of the state begins: whether it has a number for every weight, and which if they are all equal."""

    elementwise: bool
    dtype: torch.dtype
    value: Tensor | None


def beginnings(optimizer: torch.optim.Optimizer, weight: nn.Parameter) -> dict[str, Beginning]:
    """What a fresh instance of the optimizer keeps for a new parameter, by key; empty where none can be made.

    Asked of a tiny parameter of zeros, with the options of the group that the weight is in.
    """
    group = group_of(optimizer, weight)
    if group is None or len(optimizers_in(optimizer)) > 1:  # making a second wrapper could do more than fill a state
        return {}
    shape = _TINY[: weight.dim()]
    tiny = nn.Parameter(torch.zeros(shape, dtype=weight.dtype, device=weight.device))
    tiny.grad = torch.zeros_like(tiny)
    kind = type(optimizer)
    known = {**vars(optimizer), **group}
    try:
        options = {key: known[key] for key in inspect.signature(kind).parameters if key in known and key != "params"}
        fresh = kind([tiny], **options)
        if not fresh.state.get(tiny):
            # Without the hooks that everybody may have put on all optimizers.
            getattr(kind.step, "__wrapped__", kind.step)(fresh)
        state = dict(fresh.state.get(tiny, {}))
    except Exception:  # an optimizer of one's own may want anything
        return {}
    return {key: _beginning(value, shape) for key, value in state.items() if is_plain(value)}


def _beginning(value: Tensor, shape: tuple[int, ...]) -> Beginning:
    elementwise = tuple(value.shape) == shape
    equal = elementwise and bool((value == value.flatten()[0]).all())
    return Beginning(elementwise, value.dtype, value.flatten()[0].detach().clone() if equal else None)


def group_of(optimizer: torch.optim.Optimizer, weight: nn.Parameter) -> dict[str, Any] | None:
    """The parameter group that the weight is in."""
    for group in optimizer.param_groups:
        if any(parameter is weight for parameter in group["params"]):
            return group
    return None


def is_plain(value: object) -> bool:
    """True for a tensor that can be masked and filled: quantized ones (8-bit optimizers) are left alone."""
    return type(value) is Tensor or type(value) is nn.Parameter


def entries(
    optimizer: torch.optim.Optimizer, weight: nn.Parameter, begins: dict[str, Beginning]
) -> Iterator[tuple[str, Tensor]]:
    """The entries of a weight's state that have a number for every weight, by key."""
    for key, value in optimizer.state.get(weight, {}).items():
        if is_plain(value) and value.shape == weight.shape and (key not in begins or begins[key].elementwise):
            yield key, value


def restart_if_shared(optimizer: torch.optim.Optimizer) -> None:
    """Empties state that spans all parameters, as the directions of LBFGS do: they lead through removed weights."""
    total = sum(parameter.numel() for group in optimizer.param_groups for parameter in group["params"])
    for parameter, state in optimizer.state.items():
        own = (total,) == tuple(parameter.shape)  # the one parameter there is, itself a vector
        if not own:
            parts = [part for value in state.values() for part in (value if isinstance(value, list) else [value])]
            if any(isinstance(part, Tensor) and part.dim() == 1 and part.numel() == total for part in parts):
                state.clear()
