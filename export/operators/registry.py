"""What export knows of ONNX operators, by ONNX's names. Activations but for Relu and Clip: see `functions.py`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import onnx

from edge.network import Add, Div, Mul, Sub
from edge.network.operators.activation_functions import Exp, Sqrt
from edge.network.operators.arithmetic import PRelu
from export.operators.activation import ClipRule, FunctionRule, ReluRule
from export.operators.arithmetic import ArithmeticRule, NegRule, PowRule, ReciprocalRule
from export.operators.arrangement import (
    EXCHANGE,
    RESHAPE,
    ConcatRule,
    ExchangeRule,
    FlattenRule,
    GatherRule,
    ReshapeRule,
    SliceRule,
    UnsqueezeRule,
)
from export.operators.attention import ATTENTION, AttentionRule
from export.operators.convolution import ConvRule, ConvTransposeRule, GemmRule
from export.operators.norm import BatchNormRule
from export.operators.pooling import AveragePoolRule, GlobalAveragePoolRule, MaxPoolRule
from export.operators.products import PRODUCT, SOFTMAX, ProductRule, SoftmaxRule
from export.operators.resampling import ResampleRule
from export.operators.rule import Rule
from export.operators.sample_norm import ChannelNormRule, GroupNormRule, InstanceNormRule, LayerNormRule
from export.operators.tokens import (
    POSITIONS_LISTED,
    POSITIONS_PICKED,
    PREPEND,
    PositionsRule,
    PrependRule,
    SelectPositionsRule,
)

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "Conv": ConvRule(),
        "ConvTranspose": ConvTransposeRule(),
        "Gemm": GemmRule(),
        "BatchNormalization": BatchNormRule(),
        "InstanceNormalization": InstanceNormRule(),
        "LayerNormalization": LayerNormRule(),
        "GroupNormalization": GroupNormRule(),
        "ChannelNormalization": ChannelNormRule(),
        "Relu": ReluRule(),
        "Clip": ClipRule(),
        "Add": ArithmeticRule(Add),
        "Sub": ArithmeticRule(Sub),
        "Mul": ArithmeticRule(Mul),
        "Div": ArithmeticRule(Div),
        "PRelu": ArithmeticRule(PRelu),
        "Neg": NegRule(),
        "Reciprocal": ReciprocalRule(),
        "Pow": PowRule(),
        "Sqrt": FunctionRule(Sqrt),
        "Exp": FunctionRule(Exp),
        "MaxPool": MaxPoolRule(),
        "AveragePool": AveragePoolRule(),
        "GlobalAveragePool": GlobalAveragePoolRule(),
        "Flatten": FlattenRule(),
        RESHAPE: ReshapeRule(),
        EXCHANGE: ExchangeRule(),
        PRODUCT: ProductRule(),
        SOFTMAX: SoftmaxRule(),
        ATTENTION: AttentionRule(),
        PREPEND: PrependRule(),
        POSITIONS_PICKED: PositionsRule(),
        POSITIONS_LISTED: SelectPositionsRule(),
        "Unsqueeze": UnsqueezeRule(),
        "Gather": GatherRule(),
        "Slice": SliceRule(),
        "Concat": ConcatRule(),
        "Pad": ResampleRule(),
        "Resize": ResampleRule(),
    }
)


def rule_of(node: onnx.NodeProto) -> Rule | None:
    """What is known of a node's operator; None for one that the network lacks."""
    return RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
