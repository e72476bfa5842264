"""MaxPool, AveragePool and GlobalAveragePool."""

from __future__ import annotations

from typing import Any

import onnx

from edge.network import AvgPool, GlobalAvgPool, MaxPool, Operator
from export.graph import attributes
from export.operators.lowering import Lowering, padding, pair
from export.operators.relation import CHANNELWISE, Channels, Relation
from export.operators.rule import Rule


class _PoolRule(Rule):
    @staticmethod
    def window(node: onnx.NodeProto) -> dict[str, Any]:
        """What windows of both kinds have."""
        values = attributes(node)
        return {
            "kernel": pair(values, "kernel_shape"),
            "stride": pair(values, "strides"),
            "padding": padding(values),
            "ceil_mode": bool(values.get("ceil_mode", 0)),
        }

    def relation(self, node: onnx.NodeProto, graph: Channels) -> Relation:
        """Each channel by itself."""
        return CHANNELWISE


class MaxPoolRule(_PoolRule):
    """MaxPool."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """The largest of each window."""
        dilation = pair(attributes(node), "dilations")
        return MaxPool(node.output[0], lowering.inputs(node), shape, **self.window(node), dilation=dilation)


class AveragePoolRule(_PoolRule):
    """AveragePool."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """The mean of each window."""
        padded = bool(attributes(node).get("count_include_pad", 0))
        return AvgPool(node.output[0], lowering.inputs(node), shape, **self.window(node), count_include_pad=padded)


class GlobalAveragePoolRule(_PoolRule):
    """GlobalAveragePool."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """The mean of each channel."""
        return GlobalAvgPool(node.output[0], lowering.inputs(node), shape)
