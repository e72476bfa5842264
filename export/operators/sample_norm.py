"""InstanceNormalization, LayerNormalization, and the group and channel norms that `passes/sample_norm.py` makes."""

from __future__ import annotations

from typing import Any

import onnx

from edge.network import Operator
from edge.network.operators.sample_norm import GroupNorm, LayerNorm
from export.graph import attributes
from export.operators.lowering import Lowering, decimal
from export.operators.relation import Channels, Channelwise, Relation
from export.operators.rule import Rule


class InstanceNormRule(Rule):
    """InstanceNormalization: each channel of a sample by itself."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """As many groups as channels."""
        return GroupNorm(node.output[0], lowering.inputs(node), shape, **_parts(node, lowering), groups=shape[0])

    def relation(self, node: onnx.NodeProto, graph: Channels) -> Relation:
        """Each channel by itself, with scale and shift stored."""
        return Channelwise(stored=True)


class GroupNormRule(Rule):
    """GroupNormalization with a scale and a shift for each channel."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """Statistics over groups of channels."""
        groups = int(attributes(node)["num_groups"])
        return GroupNorm(node.output[0], lowering.inputs(node), shape, **_parts(node, lowering), groups=groups)


class ChannelNormRule(Rule):
    """Layer norm over the channels of an image."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """At each position by itself."""
        return LayerNorm(node.output[0], lowering.inputs(node), shape, **_parts(node, lowering))


class LayerNormRule(Rule):
    """LayerNormalization over all of a sample."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """A vector's features, or a group norm of one group whose scale and shift have a number for each cell."""
        first = int(attributes(node).get("axis", -1)) % (len(shape) + 1)
        if first != 1:
            raise lowering.refused(node, "only layer norm over a whole sample or over the channels is supported")
        inputs, parts = lowering.inputs(node), _parts(node, lowering)
        if len(shape) == 1:
            return LayerNorm(node.output[0], inputs, shape, **parts)
        return GroupNorm(node.output[0], inputs, shape, **parts, groups=1)


def _parts(node: onnx.NodeProto, lowering: Lowering) -> dict[str, Any]:
    """Scale, shift and epsilon; ones or zeros that the exporter stored are none."""
    names: dict[str, Any] = {}
    for index, (role, nothing) in enumerate((("scale", 1), ("shift", 0)), 1):
        name = node.input[index] if len(node.input) > index else ""
        idle = name in lowering.constants and bool((lowering.constants[name] == nothing).all())
        names[role] = None if idle and name not in lowering.stored else lowering.optional(node, index)
    return {**names, "epsilon": decimal(attributes(node).get("epsilon", 1e-5))}
