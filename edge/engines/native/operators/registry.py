"""The operators that the native engine computes: one line each."""

from __future__ import annotations

from types import MappingProxyType

from edge.engines.native.node import Node
from edge.engines.native.operators.activation import Activation
from edge.engines.native.operators.arithmetic import Addition
from edge.engines.native.operators.arrangement import Flattening, Selection, Transposition
from edge.engines.native.operators.attention import Attending
from edge.engines.native.operators.broadcast import Broadcasting
from edge.engines.native.operators.concatenation import Concatenation
from edge.engines.native.operators.convolution import Convolution
from edge.engines.native.operators.norm import ReadNorm
from edge.engines.native.operators.pooling import AveragePooling, GlobalPooling, MaxPooling
from edge.engines.native.operators.products import Multiplying, Softening
from edge.engines.native.operators.resampling import Resampling
from edge.engines.native.operators.rule import Rule
from edge.engines.native.operators.sample_norm import Normalisation
from edge.engines.native.operators.tokens import Listing, Picking, Prepending
from edge.engines.native.operators.transposed import TransposedConvolution
from edge.errors import InputError
from edge.network import (
    Add,
    AvgPool,
    BatchNorm,
    Conv,
    Div,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Mul,
    Operator,
    Relu,
    Relu6,
    Select,
    Sub,
)
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
from edge.network.operators.arithmetic import PRelu
from edge.network.operators.arrangement import Reshape, Transpose
from edge.network.operators.attention import Attention
from edge.network.operators.concatenation import Concat
from edge.network.operators.convolution import ConvTranspose
from edge.network.operators.hard_swish import HardSwish
from edge.network.operators.products import MatMul, Softmax
from edge.network.operators.resampling import Pad, ResizeLinear, ResizeNearest
from edge.network.operators.sample_norm import GroupNorm, LayerNorm
from edge.network.operators.tokens import Positions, Prepend, SelectPositions

RULES: MappingProxyType[type[Operator], Rule] = MappingProxyType(
    {
        Conv: Convolution(),
        Linear: Convolution(),
        ConvTranspose: TransposedConvolution(),
        BatchNorm: ReadNorm(),
        GroupNorm: Normalisation(),
        LayerNorm: Normalisation(),
        Relu: Activation("relu", gradient_of_value=True),
        Relu6: Activation("relu6", gradient_of_value=True),
        HardSwish: Activation("hard_swish"),
        Sigmoid: Activation("sigmoid"),
        HardSigmoid: Activation("hard_sigmoid", "alpha", "beta"),
        Silu: Activation("silu"),
        Tanh: Activation("tanh"),
        Gelu: Activation("gelu"),
        GeluTanh: Activation("gelu_tanh"),
        LeakyRelu: Activation("leaky_relu", "alpha"),
        Elu: Activation("elu", "alpha", "beta"),
        Celu: Activation("celu", "alpha"),
        Softplus: Activation("softplus", "beta", "threshold"),
        Clip: Activation("clip", "low", "high"),
        Mish: Activation("mish"),
        Exp: Activation("exp"),
        Sqrt: Activation("sqrt"),
        Add: Addition(),
        Sub: Broadcasting("sub"),
        Mul: Broadcasting("mul"),
        Div: Broadcasting("div"),
        PRelu: Broadcasting("prelu"),
        MaxPool: MaxPooling(),
        AvgPool: AveragePooling(),
        GlobalAvgPool: GlobalPooling(),
        Flatten: Flattening(),
        Reshape: Flattening(),
        Transpose: Transposition(),
        Select: Selection(),
        Concat: Concatenation(),
        Attention: Attending(),
        MatMul: Multiplying(),
        Softmax: Softening(),
        Prepend: Prepending(),
        Positions: Picking(),
        SelectPositions: Listing(),
        Pad: Resampling(),
        ResizeNearest: Resampling(),
        ResizeLinear: Resampling(),
    }
)


def find_rule(operator: Operator) -> Rule:
    """What the engine does with an operator; raises InputError for one that it does not compute."""
    rule = RULES.get(type(operator))
    if rule is None:
        known = ", ".join(sorted(kind.op for kind in RULES))
        raise InputError(f"engine native: {operator.name}: no operator {operator.op} here; it computes {known}")
    return rule


def rule_of(node: Node) -> Rule:
    """The rule of the operator that stores a node."""
    assert isinstance(node.family, Rule)
    return node.family
