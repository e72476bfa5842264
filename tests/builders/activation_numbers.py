"""The activations of the network with the numbers that tests give them; known without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

from edge.network import Operator
from edge.network.operators.activation_functions import Celu, Clip, Elu, HardSigmoid, LeakyRelu, Softplus

NUMBERS: dict[type[Operator], Mapping[str, float]] = {
    HardSigmoid: {"alpha": 1 / 6, "beta": 0.5},
    LeakyRelu: {"alpha": 0.1},
    Elu: {"alpha": 0.7, "beta": 0.9},
    Celu: {"alpha": 0.5},
    Softplus: {"beta": 1.5, "threshold": 3.0},
    Clip: {"low": -0.5, "high": 1.5},
}


def numbers_of(kind: type[Operator]) -> Mapping[str, float]:
    """The fields of an activation beside its name, inputs and shape."""
    return NUMBERS.get(kind, {})
