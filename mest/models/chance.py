"""A model's training pass without what chance does to it: dropout as a module or by a function."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

DROPOUTS = frozenset(
    {
        functional.dropout,
        functional.dropout1d,
        functional.dropout2d,
        functional.dropout3d,
        functional.alpha_dropout,
        functional.feature_alpha_dropout,
        torch.dropout,
        torch.dropout_,
        torch.alpha_dropout,
        torch.alpha_dropout_,
        torch.feature_dropout,
        torch.feature_dropout_,
    }
)


@contextmanager
def without_chance(model: nn.Module, drawing: Container[nn.Module] | None = None) -> Iterator[None]:
    """Leave dropout, stochastic depth and the like out of the model's passes, as a captured graph does; put back after.

    Modules without parameters, buffers or children are put into evaluation mode: those that are `drawing` random
    numbers alone, or all where the model is known to differ between the modes by chance only. Calls of the dropout
    functions give their input; attention keeps its share as a number.
    """
    modes = [(module, module.training) for module in model.modules()]
    shares = [(module, module.dropout) for module in model.modules() if isinstance(module, nn.MultiheadAttention)]
    try:
        for attention, _ in shares:
            attention.dropout = 0.0
        for module, _ in modes:
            if (drawing is None or module in drawing) and not _parts(module):
                module.eval()
        with _WithoutDropout():
            yield
    finally:
        for attention, share in shares:
            attention.dropout = share
        for module, training in modes:
            module.training = training


def _parts(module: nn.Module) -> list[object]:
    return [*module.children(), *module.parameters(), *module.buffers()]


class _WithoutDropout(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in DROPOUTS:
            return args[0] if args else kwargs["input"]
        if func is functional.scaled_dot_product_attention:
            args, kwargs = (*args[:4], 0.0, *args[5:]) if len(args) > 4 else args, {**kwargs}
            if "dropout_p" in kwargs:
                kwargs["dropout_p"] = 0.0
        return func(*args, **kwargs)
