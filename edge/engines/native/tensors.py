"""The parameters that an engine holds, allocated together, and how those that it trains are updated."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge.engines.native.model import Model
from edge.engines.native.weights import Tensor, Weight, aligned
from edge.libmest import program as structs
from edge.plan.choices import Choices


def allocate_tensors(model: Model) -> tuple[np.ndarray, dict[str, Tensor]]:
    """All gradients in one array, and every parameter with its part of it."""
    optimizer = model.choices.optimizer
    sizes = {
        name: model.layouts[name].capacity if name in model.layouts else parameter.nonzeros
        for name, parameter in model.network.parameters.items()
    }
    trained = {name: size + -size % 16 for name, size in sizes.items() if name in model.trained}
    gradients = aligned(sum(trained.values()), np.float32)
    tensors: dict[str, Tensor] = {}
    start = 0
    for name, parameter in model.network.parameters.items():
        gradient = gradients[start : start + (sizes[name] if name in trained else 0)]
        start += trained.get(name, 0)
        if name in model.layouts:
            tensors[name] = Weight(model.layouts[name], gradient, optimizer)
        elif parameter.values.dtype == np.float32:
            tensors[name] = Tensor(name, parameter.values, parameter.size, gradient, optimizer)
    return gradients, tensors


def trained_tensors(tensors: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """Those that the update step changes, in their order."""
    return tuple(tensor for tensor in tensors.values() if tensor.trained)


def describe_update(choices: Choices) -> structs.Update:
    """The optimizer as the update step reads it."""
    asked = choices.optimizer
    return structs.Update(
        kind=int(asked.kind == "adamw"),
        nesterov=int(asked.nesterov),
        beta1=asked.beta1,
        beta2=asked.beta2,
        momentum=asked.momentum,
        weight_decay=asked.weight_decay,
        epsilon=asked.epsilon,
    )
