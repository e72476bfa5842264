"""The parameters that an engine holds, allocated together, and the update step's description of those it trains."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import numpy as np

from edge.native import structs
from edge.native.program import Model
from edge.native.weights import Tensor, Weight, aligned
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


def describe_update(
    choices: Choices, tensors: Mapping[str, Tensor]
) -> tuple[structs.Update, list[tuple[structs.Param, Tensor]]]:
    """The update step's description and the C struct of every trained tensor."""
    trained = [tensor for tensor in tensors.values() if tensor.trained]
    params = (structs.Param * len(trained))()
    for param, tensor in zip(params, trained, strict=True):
        states = [state.ctypes.data for state in tensor.state] + [0, 0]
        param.values, param.grads = tensor.values.ctypes.data, tensor.gradient.ctypes.data
        param.first, param.second, param.count = states[0], states[1], tensor.count
    asked = choices.optimizer
    update = structs.Update(
        kind=int(asked.kind == "adamw"),
        nesterov=int(asked.nesterov),
        beta1=asked.beta1,
        beta2=asked.beta2,
        momentum=asked.momentum,
        weight_decay=asked.weight_decay,
        epsilon=asked.epsilon,
        count=len(trained),
    )
    update.params = ctypes.addressof(params)
    return update, list(zip(params, trained, strict=True))
