"""A sparsifier's state inside its optimizer's: for programs whose checkpoints hold a model and an optimizer only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from mest.errors import DamagedError, InputError
from mest.sparse.hooks import Hooks
from mest.sparse.inner_optimizers import optimizers_in

KEY = "mest_sparsifier"


class StateInOptimizer(Hooks):
    """Adds a state to what `optimizer.state_dict()` returns, and takes it out in `optimizer.load_state_dict()`."""

    def __init__(
        self,
        given: torch.optim.Optimizer,
        save: Callable[[], dict[str, Any]],
        load: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """Raises InputError if the state of `given` is not that of a torch optimizer in it."""
        self._save, self._load = save, load
        self._handles: list[Any] = []
        self._taken: Mapping[str, Any] | None = None
        for optimizer in optimizers_in(given):
            self.optimizer = optimizer
            self.refresh()
            if KEY in given.state_dict():
                return
            self.detach()
        raise InputError(
            f"a {type(given).__name__} composes its checkpoint itself, so it can carry nothing else; save"
            " sparsifier.state_dict() beside it"
        )

    def refresh(self) -> None:
        """Hook the optimizer if it is not, as a copy is not."""
        if self._hooked(self.optimizer._optimizer_state_dict_post_hooks):
            return
        self._handles = [
            self.optimizer.register_state_dict_post_hook(self._add),
            self.optimizer.register_load_state_dict_pre_hook(self._take),
            self.optimizer.register_load_state_dict_post_hook(self._pass_on),
        ]

    def _add(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        state[KEY] = self._save()

    def _take(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        if KEY not in state:
            raise DamagedError(
                "the optimizer's checkpoint holds no sparsifier, so it was saved without save_with(optimizer); load the"
                " weights into a new model and give their masks: mest.sparsify(model, optimizer, masks=masks_of(model))"
            )
        self._taken = state.pop(KEY)

    def _pass_on(self, optimizer: torch.optim.Optimizer) -> None:
        taken, self._taken = self._taken, None
        if taken is not None:
            self._load(taken)
