"""Attention, as `passes/attention.py` finds it in a graph."""

from __future__ import annotations

import onnx

from edge.network import Operator
from edge.network.operators.attention import Attention
from export.graph import attributes
from export.operators.lowering import Lowering, decimal
from export.operators.rule import Rule

ATTENTION = "Attention"  # a node in lowering's graph


class AttentionRule(Rule):
    """Queries, keys and values as the channels of one value."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """The scale as the short decimal that it is in float32."""
        values = attributes(node)
        heads, features, scale = int(values["heads"]), int(values["features"]), decimal(values["scale"])
        return Attention(node.output[0], lowering.inputs(node), shape, heads, features, scale)
