"""Conv, ConvTranspose and Gemm."""

from __future__ import annotations

import onnx

from edge.network import Conv, Linear, Operator
from edge.network.operators.convolution import ConvTranspose
from export.graph import attributes, set_attributes
from export.operators.lowering import Lowering, padding, pair
from export.operators.relation import LAYER, TRANSPOSED_LAYER, UNKNOWN, Channels, Channelwise, Relation
from export.operators.rule import Rule


class ConvRule(Rule):
    """Conv with a stored weight."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """A convolution over images."""
        values = attributes(node)
        return Conv(
            node.output[0],
            lowering.inputs(node),
            shape,
            weight=lowering.weight(node, 1),
            bias=lowering.optional(node, 2),
            stride=pair(values, "strides"),
            padding=padding(values),
            dilation=pair(values, "dilations"),
            groups=int(values.get("group", 1)),
        )

    def relation(self, node: onnx.NodeProto, graph: Channels) -> Relation:
        """A layer; channelwise where every channel has one filter of its own."""
        groups = attributes(node).get("group", 1)
        out, per_group = graph.weights[node.input[1]].shape[:2] if node.input[1] in graph.weights else (0, 0)
        if groups == 1 and out:
            return LAYER
        return _Depthwise(stored=True) if groups == out and per_group == 1 else UNKNOWN


class ConvTransposeRule(Rule):
    """ConvTranspose with a stored weight `(in, out/groups, kh, kw)`."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """A transposed convolution over images."""
        values = attributes(node)
        if values.get("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in values:
            raise lowering.refused(node, "only stated padding is supported, no auto_pad and no output_shape")
        height, width = values.get("output_padding", [0, 0])
        return ConvTranspose(
            node.output[0],
            lowering.inputs(node),
            shape,
            weight=lowering.weight(node, 1),
            bias=lowering.optional(node, 2),
            stride=pair(values, "strides"),
            padding=padding(values),
            output_padding=(int(height), int(width)),
            dilation=pair(values, "dilations"),
            groups=int(values.get("group", 1)),
        )

    def relation(self, node: onnx.NodeProto, graph: Channels) -> Relation:
        """A layer that reads all channels; channelwise where every channel has one filter of its own."""
        groups = attributes(node).get("group", 1)
        inner, per_group = graph.weights[node.input[1]].shape[:2] if node.input[1] in graph.weights else (0, 0)
        if groups == 1 and inner:
            return TRANSPOSED_LAYER
        return _Depthwise(stored=True) if groups == inner and per_group == 1 else UNKNOWN


class _Depthwise(Channelwise):
    def shrink(self, node: onnx.NodeProto, graph: Channels) -> list[onnx.NodeProto]:
        """A group for each filter that is left."""
        set_attributes(node, group=len(graph.kept[node.output[0]]))
        return super().shrink(node, graph)


class GemmRule(Rule):
    """Gemm as a linear layer has it."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """x · Wᵀ + b."""
        values = attributes(node)
        plain = values.get("alpha", 1) == 1 and values.get("beta", 1) == 1 and not values.get("transA")
        if not plain or not values.get("transB"):
            raise lowering.refused(node, "only x · Wᵀ + b is supported")
        return Linear(
            node.output[0],
            lowering.inputs(node),
            shape,
            weight=lowering.weight(node, 1),
            bias=lowering.optional(node, 2),
        )

    def relation(self, node: onnx.NodeProto, graph: Channels) -> Relation:
        """A layer where the weight is stored as PyTorch has it."""
        return LAYER if attributes(node).get("transB") and node.input[1] in graph.weights else UNKNOWN
