"""The sparse weights of a model with their masks, and the multiplication that makes the rest of a tensor zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn


class HeldLayers:
    """Weights by name, each with the bool mask of what is kept.

    `masks` is never replaced, only what is in it, so that everybody may hold on to it.
    """

    def __init__(self, weights: Mapping[str, nn.Parameter]) -> None:
        self.weights = dict(weights)
        self.masks: dict[str, Tensor] = {}
        self._factors: dict[str, Tensor] = {}
        self._versions: dict[str, int] = {}

    def take(self, masks: Mapping[str, Tensor]) -> None:
        """Puts these masks in force; the tensors stay as they are until they are masked."""
        self.masks.update(masks)
        for name in masks:
            self._factors.pop(name, None)

    def mask(self, name: str) -> Tensor:
        """The mask, where the weight is now: a model may move after its sparsifier was made."""
        self.masks[name] = self.masks[name].to(self.weights[name].device)
        return self.masks[name]

    def factor(self, name: str, like: Tensor) -> Tensor:
        """The mask as numbers, in the weight's dtype and layout: that keeps the multiplication in one fused kernel."""
        factor = self._factors.get(name)
        if factor is None or factor.device != like.device:
            factor = torch.empty_like(self.weights[name], device=like.device, requires_grad=False)
            self._factors[name] = factor.copy_(self.masks[name])
        return factor

    @torch.no_grad()
    def zero_removed(self, names: Sequence[str], tensors: list[Tensor]) -> None:
        """Makes everything outside the masks zero in tensors of the weights' shapes; over all of them at once."""
        if tensors:
            torch._foreach_mul_(tensors, [self.factor(name, tensors[i]) for i, name in enumerate(names)])

    @torch.no_grad()
    def strays(self, name: str) -> int:
        """Number of weights outside the mask that are not zero."""
        return int(torch.logical_and(self.weights[name] != 0, ~self.mask(name)).count_nonzero())

    def remember_versions(self, names: Iterable[str]) -> None:
        """Takes the weights as they are for those that we know of."""
        for name in names:
            self._versions[name] = self.weights[name]._version

    def forget_versions(self) -> None:
        """From now on every weight counts as written to."""
        self._versions.clear()

    def touched(self, names: Iterable[str]) -> bool:
        """True if any of these weights was written to since, as by load_state_dict; writing to .data is not seen."""
        return any(self.weights[name]._version != self._versions.get(name) for name in names)
