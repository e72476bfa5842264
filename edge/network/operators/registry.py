"""The operators by the names that network.json has for them."""

from __future__ import annotations

from types import MappingProxyType

from edge.network.operators.activation import Relu, Relu6
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
from edge.network.operators.arithmetic import Add, Div, Mul, PRelu, Sub
from edge.network.operators.arrangement import Flatten, Reshape, Select, Transpose
from edge.network.operators.attention import Attention
from edge.network.operators.concatenation import Concat
from edge.network.operators.convolution import Conv, ConvTranspose, Linear
from edge.network.operators.foreign import Foreign
from edge.network.operators.hard_swish import HardSwish
from edge.network.operators.norm import BatchNorm
from edge.network.operators.operator import Operator
from edge.network.operators.pooling import AvgPool, GlobalAvgPool, MaxPool
from edge.network.operators.products import MatMul, Softmax
from edge.network.operators.resampling import Pad, ResizeLinear, ResizeNearest
from edge.network.operators.sample_norm import GroupNorm, LayerNorm
from edge.network.operators.tokens import Positions, Prepend, SelectPositions

_KINDS: tuple[type[Operator], ...] = (
    Conv,
    ConvTranspose,
    Linear,
    BatchNorm,
    GroupNorm,
    LayerNorm,
    Relu,
    Relu6,
    HardSwish,
    Sigmoid,
    HardSigmoid,
    Silu,
    Tanh,
    Gelu,
    GeluTanh,
    LeakyRelu,
    Elu,
    Celu,
    Softplus,
    Clip,
    Mish,
    Exp,
    Sqrt,
    Add,
    Sub,
    Mul,
    Div,
    PRelu,
    MaxPool,
    AvgPool,
    GlobalAvgPool,
    Flatten,
    Reshape,
    Transpose,
    Select,
    Concat,
    Attention,
    MatMul,
    Softmax,
    Prepend,
    Positions,
    SelectPositions,
    Pad,
    ResizeNearest,
    ResizeLinear,
    Foreign,
)

OPERATORS: MappingProxyType[str, type[Operator]] = MappingProxyType({kind.op: kind for kind in _KINDS})
