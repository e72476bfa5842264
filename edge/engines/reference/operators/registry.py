"""The reference's rule for each operator of the native network."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from edge.engines.reference.operators import activation_functions as functions
from edge.engines.reference.operators.activation import Relu6Rule, ReluRule
from edge.engines.reference.operators.activation_functions import FunctionRule
from edge.engines.reference.operators.arithmetic import AddRule, DivRule, MulRule, PReluRule, SubRule
from edge.engines.reference.operators.arrangement import ReshapeRule, SelectRule, TransposeRule
from edge.engines.reference.operators.attention import AttentionRule
from edge.engines.reference.operators.concatenation import ConcatRule
from edge.engines.reference.operators.convolution import ConvRule, ConvTransposeRule, LinearRule
from edge.engines.reference.operators.hard_swish import HardSwishRule
from edge.engines.reference.operators.norm import BatchNormRule
from edge.engines.reference.operators.pooling import AvgPoolRule, GlobalAvgPoolRule, MaxPoolRule
from edge.engines.reference.operators.products import MatMulRule, SoftmaxRule
from edge.engines.reference.operators.resampling import ResampleRule
from edge.engines.reference.operators.rule import Rule
from edge.engines.reference.operators.sample_norm import SampleNormRule
from edge.engines.reference.operators.tokens import PositionsRule, PrependRule, SelectPositionsRule
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

RULES: Mapping[type[Operator], Rule[Any]] = MappingProxyType(
    {
        Conv: ConvRule(),
        ConvTranspose: ConvTransposeRule(),
        Linear: LinearRule(),
        BatchNorm: BatchNormRule(),
        GroupNorm: SampleNormRule(),
        LayerNorm: SampleNormRule(),
        Relu: ReluRule(),
        Relu6: Relu6Rule(),
        HardSwish: HardSwishRule(),
        Sigmoid: FunctionRule(functions.sigmoid, functions.sigmoid_slope),
        HardSigmoid: FunctionRule(functions.hard_sigmoid, functions.hard_sigmoid_slope),
        Silu: FunctionRule(functions.silu, functions.silu_slope),
        Tanh: FunctionRule(functions.tanh, functions.tanh_slope),
        Gelu: FunctionRule(functions.gelu, functions.gelu_slope),
        GeluTanh: FunctionRule(functions.gelu_tanh, functions.gelu_tanh_slope),
        LeakyRelu: FunctionRule(functions.leaky_relu, functions.leaky_relu_slope),
        Elu: FunctionRule(functions.elu, functions.elu_slope),
        Celu: FunctionRule(functions.celu, functions.celu_slope),
        Softplus: FunctionRule(functions.softplus, functions.softplus_slope),
        Clip: FunctionRule(functions.clip, functions.clip_slope),
        Mish: FunctionRule(functions.mish, functions.mish_slope),
        Exp: FunctionRule(functions.exp, functions.exp),
        Sqrt: FunctionRule(functions.sqrt, functions.sqrt_slope),
        Add: AddRule(),
        Sub: SubRule(),
        Mul: MulRule(),
        Div: DivRule(),
        PRelu: PReluRule(),
        MaxPool: MaxPoolRule(),
        AvgPool: AvgPoolRule(),
        GlobalAvgPool: GlobalAvgPoolRule(),
        Flatten: ReshapeRule(),
        Reshape: ReshapeRule(),
        Transpose: TransposeRule(),
        Select: SelectRule(),
        Concat: ConcatRule(),
        Attention: AttentionRule(),
        MatMul: MatMulRule(),
        Softmax: SoftmaxRule(),
        Prepend: PrependRule(),
        Positions: PositionsRule(),
        SelectPositions: SelectPositionsRule(),
        Pad: ResampleRule(),
        ResizeNearest: ResampleRule(),
        ResizeLinear: ResampleRule(),
    }
)


def rule_of(op: Operator) -> Rule[Any]:
    """The arithmetic of an operator; raises TypeError for one that the reference does not compute."""
    if type(op) not in RULES:
        raise TypeError(f"no reference for the operator {op.op}")
    return RULES[type(op)]
