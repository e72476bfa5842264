"""The state of a sparsifier as checkpoints hold it: written, and checked whole before any of it is taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mest.errors import DamagedError, InputError

SCHEMA = "mest-sparsifier/1"
_PARTS = ("identity", "epoch", "finished", "masks", "gradients", "generator", "nonzeros")


@dataclass(frozen=True)
class SparsifierState:
    """Masks, the gradients that the next mutation needs, generator and position.

    `identity` is what must be equal for a state to be continued, `nonzeros` those of the weights it belongs to.
    """

    identity: dict[str, Any]
    epoch: int
    finished: bool
    masks: dict[str, Tensor]
    gradients: dict[str, Tensor]
    generator: Tensor
    nonzeros: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Tensors of its own and plain values."""
        content: dict[str, Any] = {"schema": SCHEMA, **{part: getattr(self, part) for part in _PARTS}}
        for part in ("masks", "gradients"):
            content[part] = {name: tensor.detach().clone() for name, tensor in content[part].items()}
        return content


def read_state(state: object, identity: Mapping[str, Any], weights: Mapping[str, nn.Parameter]) -> SparsifierState:
    """The state that `as_dict` wrote, its tensors copied to where the weights are.

    Raises InputError if it is of other layers, another schedule or other rules, DamagedError if it is none.
    """
    if not isinstance(state, Mapping) or state.get("schema") != SCHEMA:
        raise DamagedError("not the state of a sparsifier; give what Sparsifier.state_dict() returned")
    if missing := set(_PARTS) - state.keys():
        raise DamagedError(f"the sparsifier's state lacks {', '.join(sorted(missing))}; it is damaged")
    theirs = state["identity"]
    if odd := [key for key in identity if theirs.get(key) != identity[key]]:
        listed = "; ".join(f"{key} was {theirs.get(key)} and is now {identity[key]}" for key in odd)
        raise InputError(f"the sparsifier's state is of another run: {listed}")
    try:
        wrong = [name for name, weight in weights.items() if state["masks"][name].shape != weight.shape]
        if wrong:
            raise InputError(f"the sparsifier's state has masks of another shape for {', '.join(wrong)}")
        if other := [name for name, kept in state["gradients"].items() if kept.shape != weights[name].shape]:
            raise DamagedError(f"the sparsifier's state has gradients of another shape for {', '.join(other)}")
        torch.Generator().set_state(state["generator"].cpu())
        device = {name: weight.device for name, weight in weights.items()}
        return SparsifierState(
            identity=dict(theirs),
            epoch=int(state["epoch"]),
            finished=bool(state["finished"]),
            masks={name: state["masks"][name].to(device[name], torch.bool, copy=True) for name in weights},
            gradients={name: kept.to(device[name], copy=True) for name, kept in state["gradients"].items()},
            generator=state["generator"].cpu(),
            nonzeros={name: int(state["nonzeros"][name]) for name in weights},
        )
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as wrong_part:
        reason = str(wrong_part).splitlines()[0]
        raise DamagedError(f"the sparsifier's state does not fit together ({reason}); it is damaged") from wrong_part
