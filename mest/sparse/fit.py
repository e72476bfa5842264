"""Whether model, masks, optimizers and a restored state still belong together: looked at, never trusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import nn

from mest.errors import InputError
from mest.sparse.averages import Averages
from mest.sparse.held import HeldLayers
from mest.sparse.inner_optimizers import optimizers_in
from mest.sparse.parameters import sharding


class Fit:
    """Looks at names, parameters and weights. What does not fit is refused until it does."""

    def __init__(self, model: nn.Module, held: HeldLayers, averages: Averages) -> None:
        self._model = model
        self._held = held
        self._averages = averages
        #: nonzeros of the weights that a restored state was saved with, until a model with them was seen
        self.expected: dict[str, int] = {}

    def expect(self, nonzeros: Mapping[str, int]) -> None:
        """From now on wants weights with these nonzeros, those that a restored state was saved with."""
        self.expected = dict(nonzeros)

    def check(self) -> None:
        """Raises InputError if a weight is no longer the model's, or outside its mask, or not the restored state's."""
        if problem := self.problem():
            raise InputError(problem)

    def problem(self) -> str | None:
        """The first thing that does not fit, in one line; None if all does, and then a restored state is settled."""
        problem = (
            sharding(self._model)
            or self._of_names()
            or self._of_weights()
            or self._of_restored()
            or self._averages.problem()
        )
        if problem is None:
            self.expected = {}
        return problem

    def loose(self, trained: Iterable[str]) -> str | None:
        """What to say of sparse layers that learn, but not by the attached optimizers, which train those named."""
        trained = set(trained)
        loose = [name for name, weight in self._held.weights.items() if weight.requires_grad and name not in trained]
        if not loose:
            return None
        return (
            f"{_and_more(loose)}: sparse, but trained by no attached optimizer; call attach(optimizer) for each,"
            " or freeze what is not trained before it is made sparse"
        )

    def _of_names(self) -> str | None:
        parameters = dict(self._model.named_parameters(remove_duplicate=False))
        other = [name for name, weight in self._held.weights.items() if parameters.get(name) is not weight]
        if other:
            return (
                f"{_and_more(other)}: no longer the parameter that was made sparse (its layer was replaced, or weights"
                " were loaded with assign=True); make a new sparsifier for the model as it is"
            )
        reshaped = [name for name, weight in self._held.weights.items() if weight.shape != self._held.masks[name].shape]
        return f"{_and_more(reshaped)}: of another shape than its mask; make a new sparsifier" if reshaped else None

    def _of_weights(self) -> str | None:
        for name, weight in self._held.weights.items():
            if not bool(torch.isfinite(weight.detach()).all()):
                return not_finite(name)
            if strays := self._held.strays(name):
                return (
                    f"{name}: {strays} removed weights are not zero, so something else than the attached optimizers"
                    " changed them (weights of another epoch were loaded, the model is a copy, an optimizer is not"
                    " attached); load model and sparsifier from one checkpoint, or make a new sparsifier"
                )
        return None

    def _of_restored(self) -> str | None:
        for name, nonzeros in self.expected.items():
            if int(self._held.weights[name].detach().count_nonzero()) != nonzeros:
                return (
                    f"{name}: the model's weights are not those that the sparsifier's state was saved with; make the"
                    " sparsifier first, then load the model's state, the optimizer's and the sparsifier's"
                )
        return None


def optimizers_of(
    optimizer: object, model: nn.Module, sparse: Mapping[str, nn.Parameter] | None = None
) -> Sequence[torch.optim.Optimizer]:
    """The optimizers in `optimizer`, known to train this model, and some of its `sparse` weights if they are given.

    Raises InputError if none does.
    """
    found = optimizers_in(optimizer)
    trained = {id(parameter) for one in found for group in one.param_groups for parameter in group["params"]}
    names = " in ".join(type(one).__name__ for one in reversed(found))
    if not trained & {id(parameter) for parameter in model.parameters()}:
        raise InputError(
            f"{names} holds none of the sparse layers' weights and no other parameter of this model; make it from this"
            " model's parameters"
        )
    if sparse and not trained & {id(weight) for weight in sparse.values()}:
        raise InputError(
            f"{names} holds none of the sparse layers' weights; give the optimizer that trains {next(iter(sparse))}"
            " first, and the others to attach"
        )
    return found


def not_finite(name: str) -> str:
    """What to say of a layer with weights or gradients that are infinite or not a number."""
    return f"{name}: weights or gradients are not finite, so none can be ranked; lower the learning rate"


def _and_more(names: Sequence[str]) -> str:
    return f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]
