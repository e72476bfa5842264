"""Attention, as `passes/attention.py` finds it in a graph."""

from __future__ import annotations

from typing import Any

import onnx

from edge.network import Operator
from edge.network.operators.attention import Attention
from export.graph import attributes
from export.operators.lowering import Lowering, decimal
from export.operators.rule import Rule

ATTENTION = "Attention"  # a node in lowering's graph: value, and where there are some, bias, its places, mask


class AttentionRule(Rule):
    """Queries, keys and values as the channels of one value."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """The scale as the short decimal that it is in float32."""
        values, (_, bias, places, mask) = attributes(node), node.input
        heads, features, scale = int(values["heads"]), int(values["features"]), decimal(values["scale"])
        beside: dict[str, Any] = {"windows": int(values["windows"])}
        if bias:
            beside["bias"] = lowering.parameter(node, 1)
            beside["places"] = lowering.listed(places, lowering.constants[places])
        if mask:
            beside["mask"] = lowering.constant(node, lowering.constants[mask])
        return Attention(node.output[0], lowering.inputs(node), shape, heads, features, scale, **beside)
