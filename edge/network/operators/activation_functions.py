"""Activations made of exponential functions, and those with numbers of their own."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge.network.operators.fields import Number, holds
from edge.network.operators.operator import Operator

_NUMBER = holds(Number(-1e30, 1e30))


@dataclass(frozen=True)
class Sigmoid(Operator):
    """1 / (1 + exp(-x))."""

    op = "sigmoid"


@dataclass(frozen=True)
class HardSigmoid(Operator):
    """min(max(alpha · x + beta, 0), 1)."""

    op = "hard_sigmoid"
    alpha: float = field(metadata=_NUMBER)
    beta: float = field(metadata=_NUMBER)


@dataclass(frozen=True)
class Silu(Operator):
    """x · sigmoid(x), also called Swish (Ramachandran et al., "Searching for Activation Functions")."""

    op = "silu"


@dataclass(frozen=True)
class Tanh(Operator):
    """The hyperbolic tangent."""

    op = "tanh"


@dataclass(frozen=True)
class Gelu(Operator):
    """x · Φ(x), Φ the distribution function of the standard normal (Hendrycks and Gimpel, section 2)."""

    op = "gelu"


@dataclass(frozen=True)
class GeluTanh(Operator):
    """0.5 · x · (1 + tanh(√(2/π) · (x + 0.044715 · x³))), the approximation of GELU in the same place."""

    op = "gelu_tanh"


@dataclass(frozen=True)
class LeakyRelu(Operator):
    """x from 0 on, alpha · x below."""

    op = "leaky_relu"
    alpha: float = field(metadata=_NUMBER)


@dataclass(frozen=True)
class Elu(Operator):
    """beta · x from 0 on, beta · alpha · (exp(x) - 1) below: ELU where beta is 1, SELU with the beta of its authors."""

    op = "elu"
    alpha: float = field(metadata=_NUMBER)
    beta: float = field(metadata=_NUMBER)


@dataclass(frozen=True)
class Celu(Operator):
    """x from 0 on, alpha · (exp(x / alpha) - 1) below (Barron, "Continuously Differentiable Exponential Linear Units",
    equation 2)."""

    op = "celu"
    alpha: float = field(metadata=holds(Number(1e-30, 1e30)))


@dataclass(frozen=True)
class Softplus(Operator):
    """log(1 + exp(beta · x)) / beta; x itself where beta · x is above the threshold."""

    op = "softplus"
    beta: float = field(default=1.0, metadata=holds(Number(1e-30, 1e30, default=1.0)))
    threshold: float = field(default=1e30, metadata=holds(Number(-1e30, 1e30, default=1e30)))


@dataclass(frozen=True)
class Clip(Operator):
    """min(max(x, low), high)."""

    op = "clip"
    low: float = field(metadata=_NUMBER)
    high: float = field(metadata=_NUMBER)


@dataclass(frozen=True)
class Exp(Operator):
    """The exponential function."""

    op = "exp"


@dataclass(frozen=True)
class Sqrt(Operator):
    """√x from 0 on, 0 below; its gradient at 0 is 0, as that of a length is in PyTorch."""

    op = "sqrt"


@dataclass(frozen=True)
class Mish(Operator):
    """x · tanh(softplus(x)) (Misra, "Mish: A Self Regularized Non-Monotonic Activation Function")."""

    op = "mish"
