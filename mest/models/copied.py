"""A model's copy, whatever its hooks have computed."""

from __future__ import annotations

import copy

from torch import Tensor, nn


def copy_of(model: nn.Module) -> nn.Module:
    """A deep copy. What hooks compute in a pass (`weight_norm`, `prune`) has no history there, nor in the model.

    Such a tensor is a plain attribute that depends on parameters, and torch copies none that does; the next pass
    computes it anew. Raises what torch raises for anything else that cannot be copied.
    """
    for part in model.modules():
        for name, value in vars(part).items():
            if isinstance(value, Tensor) and not value.is_leaf:
                setattr(part, name, value.detach())
    return copy.deepcopy(model)
