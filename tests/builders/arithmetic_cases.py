"""The operations of two operands and what PyTorch makes of the same; tests of all kinds draw from `ARITHMETIC`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from edge.network import Add, Arithmetic, Div, Mul, Sub
from edge.network.operators.arithmetic import PRelu

ARITHMETIC: dict[type[Arithmetic], Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    Add: torch.add,
    Sub: torch.sub,
    Mul: torch.mul,
    Div: torch.div,
    PRelu: lambda x, slope: torch.where(x > 0, x, slope * x),
}


def calculate(op: Arithmetic, inputs: Sequence[torch.Tensor], tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The value in PyTorch, of the inputs and of the stored tensor by its role."""
    left, right = (*(x.movedim(1, -1) if op.features_last else x for x in inputs), *tensors.values())
    found = ARITHMETIC[type(op)](*((right, left) if op.stored_first else (left, right)))
    return found.movedim(-1, 1) if op.features_last else found
