"""The activations of the network and what PyTorch makes of the same; tests of all kinds draw from `ACTIVATIONS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from edge.network import Operator, Relu, Relu6
from edge.network.operators.activation_functions import (
    Celu,
    Clip,
    Elu,
    Exp,
    Gelu,
    GeluTanh,
    HardSigmoid,
    LeakyRelu,
    Mish,
    Sigmoid,
    Silu,
    Softplus,
    Sqrt,
    Tanh,
)
from edge.network.operators.hard_swish import HardSwish


@dataclass(frozen=True)
class ActivationCase:
    """PyTorch's version with the numbers of `activation_numbers`, and the values at which it has no derivative."""

    torch: Callable[[torch.Tensor], torch.Tensor]
    bends: tuple[float, ...] = ()
    clear: float = 1e-4


ACTIVATIONS: dict[type[Operator], ActivationCase] = {
    Relu: ActivationCase(F.relu, bends=(0.0,)),
    Relu6: ActivationCase(F.relu6, bends=(0.0, 6.0)),
    HardSwish: ActivationCase(F.hardswish, bends=(-3.0, 3.0)),
    Sigmoid: ActivationCase(torch.sigmoid),
    HardSigmoid: ActivationCase(
        lambda x: F.hardtanh(x / 6 + 0.5, 0, 1), bends=(-3.0, 3.0)
    ),  # PyTorch's own has a sixth of float32 in its gradient, whatever it computes with
    Silu: ActivationCase(F.silu),
    Tanh: ActivationCase(torch.tanh),
    Gelu: ActivationCase(F.gelu),
    GeluTanh: ActivationCase(lambda x: F.gelu(x, approximate="tanh")),
    LeakyRelu: ActivationCase(lambda x: F.leaky_relu(x, 0.1), bends=(0.0,)),
    Elu: ActivationCase(lambda x: 0.9 * F.elu(x, 0.7), bends=(0.0,)),
    Celu: ActivationCase(lambda x: F.celu(x, 0.5), bends=(0.0,)),
    Softplus: ActivationCase(lambda x: F.softplus(x, 1.5, 3.0), bends=(2.0,)),
    Clip: ActivationCase(lambda x: F.hardtanh(x, -0.5, 1.5), bends=(-0.5, 1.5)),
    Mish: ActivationCase(F.mish),
    Exp: ActivationCase(torch.exp),
    Sqrt: ActivationCase(lambda x: F.relu(x).sqrt(), bends=(0.0,), clear=0.1),
}
