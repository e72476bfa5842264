"""What keeps removed weights at zero between mutations: a hook before and one after every optimizer step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Upkeep:
    """Removed weights, their gradients and every kind of their optimizer state are exactly zero after each step.

    Works with any torch optimizer: before the step the gradients of removed weights become zero, so that no momentum
    or second moment builds up; after it the weights and every state tensor of the weight's shape are masked as well,
    for optimizers that move weights without a gradient. One multiplication per tensor, over all layers at once.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        layers: dict[str, nn.Parameter],
        masks: dict[str, Tensor],
        observe_dense: Callable[[dict[str, Tensor]], None],
        observe: Callable[[dict[str, Tensor]], None],
    ) -> None:
        """Registers the hooks.

        `masks` is shared with the owner, who replaces its tensors and then calls `forget`. `observe_dense` sees the
        gradients by layer before they are masked, `observe` after; both in the scale of the loss, not of a scaler.
        """
        self.optimizer = optimizer
        self.layers = layers
        self._masks = masks
        self._observers = (observe_dense, observe)
        self._factors: dict[str, Tensor] = {}
        self._handles = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]

    def detach(self) -> None:
        """Removes the hooks."""
        for handle in self._handles:
            handle.remove()

    def clear(self) -> None:
        """Makes weights, gradients and state of removed weights zero now."""
        gradients = {name: weight.grad for name, weight in self.layers.items() if weight.grad is not None}
        self._mask(list(gradients), list(gradients.values()))
        self._after_step()

    def forget(self) -> None:
        """Takes over changed masks from the next step on."""
        self._factors = {}

    def _before_step(self, *unused: Any) -> None:
        gradients = {name: weight.grad for name, weight in self.layers.items() if weight.grad is not None}
        scale = getattr(self.optimizer, "grad_scale", None)
        found_inf = getattr(self.optimizer, "found_inf", None)
        # A fused optimizer steps even where GradScaler found an overflow and skips the update by itself.
        overflow = found_inf is not None and bool(found_inf.item())
        for observe, masked in zip(self._observers, (False, True), strict=True):
            if masked:
                self._mask(list(gradients), list(gradients.values()))
            if not overflow:
                observe(gradients if scale is None else {name: grad / scale for name, grad in gradients.items()})

    def _after_step(self, *unused: Any) -> None:
        names, tensors = [], []
        for name, weight in self.layers.items():
            for tensor in (weight.data, *self.optimizer.state.get(weight, {}).values()):
                if isinstance(tensor, Tensor) and tensor.shape == weight.shape:
                    names.append(name)
                    tensors.append(tensor)
        self._mask(names, tensors)

    def _mask(self, names: list[str], tensors: list[Tensor]) -> None:
        if tensors:
            with torch.no_grad():
                torch._foreach_mul_(tensors, [self._factor(name, tensors[i]) for i, name in enumerate(names)])

    def _factor(self, name: str, like: Tensor) -> Tensor:
        """The mask as numbers, in the weight's dtype and layout: that keeps the multiplication in one fused kernel."""
        factor = self._factors.get(name)
        if factor is None or factor.device != like.device:
            factor = torch.empty_like(self.layers[name], requires_grad=False).copy_(self._masks[name])
            self._factors[name] = factor
        return factor
