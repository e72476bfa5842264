"""The gradients of sparse layers: zero where weights were removed, from the moment that they exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakMethod

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from mest.sparse.held import HeldLayers


class Gradients:
    """Masks each gradient as soon as a backward pass has accumulated it, and keeps what the next mutation reads.

    So whatever comes between the backward pass and the step (clipping, unscaling, a closure, the first half of a
    two-call optimizer) sees the sparse gradient. Where growth follows gradients, the dense gradient of the whole
    optimizer step is taken aside first: in the epochs with `dense`, masking waits for the end of the backward pass,
    when gradients are reduced over processes, and what was masked away is put back before more is accumulated.
    """

    def __init__(self, held: HeldLayers) -> None:
        self._held = held
        #: what the next mutation reads, by layer: the gradient of the last whole step, dense where growth follows it
        self.kept: dict[str, Tensor] = {}
        self._needed = self._dense = False
        self._handles: dict[str, RemovableHandle] = {}
        self._dense_handles: dict[str, RemovableHandle] = {}
        #: dense gradients since they were last zeroed, as the backward pass left them
        self._whole: dict[str, Tensor] = {}
        #: layers whose gradients a backward pass under way has accumulated, by the number of that pass
        self._unmasked: dict[int, list[str]] = {}

    def begin(self, needed: bool, dense: bool) -> None:
        """From now on keeps gradients if `needed`, those of removed weights too if `dense`; hooks what is trained."""
        self._needed, self._dense = needed, dense
        self._unmasked.clear()
        if not dense:
            self._whole.clear()
            self._remove(self._dense_handles)
        for name, weight in self._held.weights.items():
            if weight.requires_grad and not self._hooked(name):
                self._handles[name] = weight.register_post_accumulate_grad_hook(_weak(self._accumulated, name))
            if weight.requires_grad and dense and name not in self._dense_handles:
                self._dense_handles[name] = weight.register_hook(_weak(self._accumulating, name))

    @property
    def unapplied(self) -> bool:
        """True if dense gradients came that no optimizer was seen to apply."""
        return bool(self._whole) and not self.kept

    def restore(self, kept: dict[str, Tensor]) -> None:
        """Takes what an earlier run kept, and lets go of its own."""
        self.kept = kept
        self._whole.clear()

    def release(self) -> None:
        """Removes the hooks."""
        self._remove(self._handles)
        self._remove(self._dense_handles)

    def seen(self, gradients: Mapping[str, Tensor], scale: Tensor | None) -> None:
        """Takes the gradients that an optimizer is about to apply, and masks them: nobody knows where they come from.

        `scale` is that of a loss whose gradients the optimizer unscales by itself.
        """
        if self._dense:
            for name, gradient in gradients.items():  # of no backward pass, or of one that is still under way
                if name not in self._whole or bool(gradient.detach().masked_fill(self._held.mask(name), 0).any()):
                    self._whole[name] = gradient.detach().clone()
        self._held.zero_removed(list(gradients), [gradient.detach() for gradient in gradients.values()])
        if self._needed:
            self._keep(
                {name: gradient / scale for name, gradient in gradients.items()} if scale is not None else gradients
            )

    def clear(self) -> None:
        """Makes what is kept of removed weights zero."""
        self._held.zero_removed(list(self.kept), list(self.kept.values()))

    def __getstate__(self) -> dict[str, Any]:
        """A copy hooks nothing until it is told to begin."""
        return {**vars(self), "_handles": {}, "_dense_handles": {}, "_whole": {}, "_unmasked": {}}

    # --- hooks ---

    def _hooked(self, name: str) -> bool:
        hooks = self._held.weights[name]._post_accumulate_grad_hooks or {}
        return name in self._handles and self._handles[name].id in hooks

    @staticmethod
    def _remove(handles: dict[str, RemovableHandle]) -> None:
        for handle in handles.values():
            handle.remove()
        handles.clear()

    def _accumulated(self, name: str, weight: Tensor) -> None:
        if not self._dense:
            self._mask(name)
            return
        backward = torch._C._current_graph_task_id()
        if backward not in self._unmasked:
            self._unmasked[backward] = []
            # What is queued now runs before what a data-parallel wrapper will have queued; what that queues, after it.
            _at_the_end(lambda: _at_the_end(lambda: self._take_aside(self._unmasked.pop(backward, []))))
        self._unmasked[backward].append(name)

    @torch.no_grad()
    def _accumulating(self, name: str, incoming: Tensor) -> None:
        """Before more is accumulated: puts back what was masked away, unless gradients were zeroed since."""
        whole, gradient = self._whole.pop(name, None), self._held.weights[name].grad
        if whole is not None and gradient is not None and bool(gradient.any()):
            gradient.add_(whole.masked_fill(self._held.mask(name), 0))

    @torch.no_grad()
    def _take_aside(self, names: list[str]) -> None:
        """Remembers dense gradients, then masks them."""
        for name in names:
            if (gradient := self._held.weights[name].grad) is not None:
                self._whole[name] = gradient.detach().clone()
                self._mask(name)

    def _mask(self, name: str) -> None:
        weight = self._held.weights[name]
        gradient = weight.grad
        if gradient is None:
            return
        factor = self._held.factor(name, gradient)
        if gradient.requires_grad:  # of create_graph: it will be differentiated itself
            weight.grad = gradient * factor
        else:
            gradient.mul_(factor)

    # --- what the next mutation reads ---

    @torch.no_grad()
    def _keep(self, gradients: Mapping[str, Tensor]) -> None:
        for name, gradient in gradients.items():
            if name not in self.kept or self.kept[name].device != gradient.device:
                self.kept[name] = torch.empty_like(gradient, requires_grad=False)
        if not gradients:
            return
        torch._foreach_copy_([self.kept[name] for name in gradients], [g.detach() for g in gradients.values()])
        if self._dense:
            for name in gradients:
                self._add_removed(name)

    def _add_removed(self, name: str) -> None:
        """Adds to a kept gradient that of removed weights, in the same scale.

        What happened to the gradient between the backward pass and the step (unscaling, clipping) was seen on the kept
        weights only; their ratio says by how much.
        """
        mask, applied = self._held.mask(name), self.kept[name]
        before = (self._whole[name] * mask).float()
        square = float((before * before).sum())
        ratio = float((before * applied.float()).sum()) / square if square else 1.0
        applied.add_(self._whole[name].masked_fill(mask, 0), alpha=ratio)


def _weak(method: Callable[[str, Tensor], None], name: str) -> Callable[[Tensor], None]:
    """A hook of a parameter that does not keep the method's object alive.

    That object holds the parameter, and a circle through autograd is never collected.
    """
    reference = WeakMethod(method)

    def hook(tensor: Tensor) -> None:
        if (alive := reference()) is not None:
            alive(name, tensor)

    return hook


def _at_the_end(action: Callable[[], None]) -> None:
    """Runs the action at the end of the backward pass under way."""
    torch.autograd.Variable._execution_engine.queue_callback(action)
