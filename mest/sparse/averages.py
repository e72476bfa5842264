"""Averages of a model's weights (EMA, SWA): copies that train in no optimizer and must be as sparse as the model."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from mest.errors import InputError
from mest.sparse.held import HeldLayers
from mest.sparse.parameters import bare


class Averages:
    """Copies whose removed weights become zero with the model's own.

    An average goes on carrying a share of what a weight was before it was removed. Made zero once, it stays zero,
    because only zeros come in from then on.
    """

    def __init__(self, held: HeldLayers) -> None:
        self._held = held
        self.models: list[nn.Module] = []

    def add(self, average: nn.Module, model: nn.Module) -> None:
        """Follow one more copy. Raises InputError, and changes nothing, if it is not one of `model`."""
        inside = average if type(average) is type(model) else average_in(average)
        if inside is model:
            raise InputError("the average is the model itself; give the copy that holds the averaged weights")
        parameters = dict(inside.named_parameters(remove_duplicate=False))
        odd = [name for name, weight in self._held.weights.items() if not _alike(parameters.get(name), weight)]
        if odd:
            raise InputError(
                f"{odd[0]}: the average has no such weight, so it is no copy of this model; give"
                " torch.optim.swa_utils.AveragedModel(model), timm's ModelEmaV3(model) or a deep copy"
            )
        if all(inside is not known for known in self.models):
            self.models.append(inside)
        self.clear(self._held.weights)

    @torch.no_grad()
    def clear(self, names: Iterable[str]) -> None:
        """Make what is removed in these layers zero in every copy."""
        names = list(names)
        for model in self.models:
            self._held.zero_removed(names, [model.get_parameter(name).data for name in names])

    @torch.no_grad()
    def problem(self) -> str | None:
        """The first copy that is not as sparse as the model, in one line."""
        for model in self.models:
            for name in self._held.weights:
                mask = self._held.mask(name)
                weight = model.get_parameter(name)
                strays = int(torch.logical_and(weight != 0, ~mask.to(weight.device)).count_nonzero())
                if strays:
                    return (
                        f"{name}: {strays} removed weights are not zero in the averaged model; load it from the same"
                        " checkpoint as the model and the sparsifier, or give it to attach_average again"
                    )
        return None


def average_in(wrapper: nn.Module) -> nn.Module:
    """The averaged model in what holds it: AveragedModel, timm's ModelEmaV2 and ModelEmaV3 call it `module`."""
    inside = bare(wrapper)
    held = inside._modules.get("module")
    return bare(held) if len(inside._modules) == 1 and held is not None else inside


def _alike(found: nn.Parameter | None, weight: nn.Parameter) -> bool:
    return found is not None and found.shape == weight.shape
