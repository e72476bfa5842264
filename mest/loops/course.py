"""A sparsifier that begins where a Trainer has made its optimizers, and follows the Trainer's count of epochs."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from mest.errors import InputError
from mest.sparse import Sparsifier, sparsify
from mest.sparse.decimals import whole_number

_OURS = ("model", "optimizer", "state")


def check_options(options: Mapping[str, Any], steps_per_epoch: int | None) -> None:
    """Raise InputError for what `mest.sparsify` does not take, before a Trainer begins."""
    known = [name for name in inspect.signature(sparsify).parameters if name not in _OURS]
    for name in options:
        if name in _OURS:
            raise InputError(f"{name}: comes from the Trainer; leave it out")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; nearest: {near[0]}" if near else ""
            raise InputError(f"{name}: no option of mest.sparsify{hint}")
    if steps_per_epoch is not None:
        whole_number(steps_per_epoch, "steps_per_epoch", least=1)


class Course:
    """The sparsifier of one call of a Trainer, with what it is asked at which step."""

    def __init__(self, options: Mapping[str, Any], steps_per_epoch: int | None) -> None:
        self._options = dict(options)
        self.steps_per_epoch = steps_per_epoch
        self.sparsifier: Sparsifier | None = None

    def begin(
        self,
        model: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        epochs: int | None,
        steps: int | None,
        state: Mapping[str, Any] | None,
    ) -> None:
        """Make the sparsifier for a run of `epochs` or of `steps` (None: the Trainer does not know how many).

        With a `state` the weights are loaded already. Raises InputError where the schedule has another length.
        """
        length = epochs
        if self.steps_per_epoch is not None:
            length = None if steps is None else -(-steps // self.steps_per_epoch)
        asked = self._options.get("epochs", length)
        if asked is None:
            raise InputError(
                "the Trainer does not say how long it runs; give epochs=, or steps_per_epoch= and max_steps"
            )
        if length is not None and asked != length:
            raise InputError(f"epochs={asked}, and the Trainer runs {length}; leave epochs out, or give equal ones")
        if self.sparsifier is not None:
            self.sparsifier.detach()
        first, *others = sorted(optimizers, key=_weights_in, reverse=True)
        self.sparsifier = sparsify(model, first, **{**self._options, "epochs": asked}, state=state)
        for optimizer in others:
            self.sparsifier.attach(optimizer)

    def at_epoch(self, epoch: int) -> None:
        """The Trainer begins an epoch."""
        if self.steps_per_epoch is None:
            self._start(epoch)

    def at_step(self, step: int) -> None:
        """The Trainer begins an optimizer step, counted from 0."""
        if self.steps_per_epoch is not None:
            self._start(step // self.steps_per_epoch)

    def _start(self, epoch: int) -> None:
        assert self.sparsifier is not None
        if epoch != self.sparsifier.epoch:
            self.sparsifier.start_epoch(epoch)

    def finish(self, warn: Callable[[str], object] | None = None) -> None:
        """Bring every layer to its target, unless done; `warn` is told of weights that go after the last evaluation."""
        assert self.sparsifier is not None
        if self.sparsifier.finished:
            return
        mutation = self.sparsifier.finish()
        if mutation is not None and warn is not None:
            pruned = sum(layer.pruned_weights for layer in mutation.layers.values())
            warn(
                f"training ended below the target sparsity, so {pruned} weights were removed after the last evaluation"
                " and checkpoint; evaluate and save once more"
            )


def _weights_in(optimizer: torch.optim.Optimizer) -> int:
    """Parameters of two or more dimensions: the optimizer with most of them is the first that is made sparse."""
    return sum(parameter.dim() > 1 for group in optimizer.param_groups for parameter in group["params"])
