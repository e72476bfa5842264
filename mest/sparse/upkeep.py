"""What keeps removed weights at zero between mutations: a hook before and one after every optimizer step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mest.sparse.gradients import Gradients
from mest.sparse.held import HeldLayers
from mest.sparse.hooks import Hooks
from mest.sparse.optimizer_state import Beginning, beginnings, entries, group_of, restart_if_shared


class Upkeep(Hooks):
    """Removed weights, their gradients and every kind of their optimizer state are exactly zero after each step.

    Works with any torch optimizer: gradients are masked before the step reads them (within a closure too), so that no
    momentum or second moment builds up; after it the weights and their state are masked as well, for optimizers that
    move weights without a gradient. One multiplication per tensor, over all layers at once.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        held: HeldLayers,
        gradients: Gradients,
        check: Callable[[], None],
    ) -> None:
        """Registers the hooks. `check` is called before a step if weights were written to since the last one."""
        self.optimizer = optimizer
        self._held = held
        self._gradients = gradients
        self._check = check
        self._begins: dict[Any, dict[str, Beginning]] = {}
        self.layers: tuple[str, ...] = ()
        self._handles: list[Any] = []
        self.refresh()

    def refresh(self) -> None:
        """Hooks the optimizer if it is not, and looks which layers it trains now."""
        trained = {id(parameter) for group in self.optimizer.param_groups for parameter in group["params"]}
        self.layers = tuple(name for name, weight in self._held.weights.items() if id(weight) in trained)
        if not self._hooked(self.optimizer._optimizer_step_pre_hooks):
            self._handles = [
                self.optimizer.register_step_pre_hook(self._before_step),
                self.optimizer.register_step_post_hook(self._after_step),
            ]

    def clear(self) -> None:
        """Makes weights, gradients and state of removed weights zero now."""
        gradients = self._present()
        self._held.zero_removed(list(gradients), list(gradients.values()))
        self._after_step()

    @torch.no_grad()
    def renew(self, grown: Mapping[str, Tensor]) -> None:
        """Gives the weights of these bool masks the state of a new parameter, and removed ones what cannot be zero.

        `grown` has a mask for every layer that changed.
        """
        if not any(name in grown for name in self.layers):
            return
        restart_if_shared(self.optimizer)
        self._begins.clear()  # a learning rate may have changed since
        for name in self.layers:
            weight = self._held.weights[name]
            if name not in grown or not self.optimizer.state.get(weight):
                continue
            begins = self._begins_of(name)
            for key, value in entries(self.optimizer, weight, begins):
                first = begins[key].value if key in begins and begins[key].dtype == value.dtype else None
                if value.is_floating_point():
                    value.masked_fill_(grown[name], 0 if first is None else first)
                elif first is not None:
                    value.masked_fill_(grown[name] | ~self._held.mask(name), first)

    def _begins_of(self, name: str) -> dict[str, Beginning]:
        """How the state of a layer begins, asked once for all layers that are alike."""
        if name not in self._begins:
            weight = self._held.weights[name]
            alike = (id(group_of(self.optimizer, weight)), weight.dim(), weight.dtype, weight.device)
            if alike not in self._begins:
                self._begins[alike] = beginnings(self.optimizer, weight)
            self._begins[name] = self._begins[alike]
        return self._begins[name]

    def _present(self) -> dict[str, Tensor]:
        weights = self._held.weights
        return {name: weights[name].grad for name in self.layers if weights[name].grad is not None}  # type: ignore[misc]

    def _before_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._held.touched(self.layers):
            self._check()
        closure = kwargs.get("closure") or (args[1] if len(args) > 1 else None)
        if not callable(closure):
            self._see()
            return None

        def seen() -> Any:
            loss = closure()
            self._see()
            return loss

        if "closure" in kwargs:
            return args, {**kwargs, "closure": seen}
        return (args[0], seen, *args[2:]), kwargs

    def _see(self) -> None:
        # A fused optimizer steps even where GradScaler found an overflow and skips the update by itself.
        found_inf = getattr(self.optimizer, "found_inf", None)
        overflow = found_inf is not None and bool(found_inf.item())
        gradients = self._present()
        if not overflow:
            self._gradients.seen(gradients, getattr(self.optimizer, "grad_scale", None))

    def _after_step(self, *unused: Any) -> None:
        names, tensors = [], []
        for name in self.layers:
            weight = self._held.weights[name]
            names.append(name)
            tensors.append(weight.data)
            if self.optimizer.state.get(weight):
                for _, value in entries(self.optimizer, weight, self._begins_of(name)):
                    if value.is_floating_point():
                        names.append(name)
                        tensors.append(value)
        self._held.zero_removed(names, tensors)
        self._held.remember_versions(self.layers)
