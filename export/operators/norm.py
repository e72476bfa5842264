"""BatchNormalization."""

from __future__ import annotations

import onnx

from edge.network import BatchNorm, Operator
from export.graph import attributes, is_frozen
from export.operators.lowering import Lowering, decimal
from export.operators.relation import Channels, Channelwise, Relation
from export.operators.rule import Rule


class BatchNormRule(Rule):
    """BatchNormalization with stored vectors."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """A batch norm; ONNX's momentum is the share of the old."""
        values = attributes(node)
        scale, shift, mean, variance = (lowering.parameter(node, index) for index in range(1, 5))
        return BatchNorm(
            node.output[0],
            lowering.inputs(node),
            shape,
            scale=scale,
            shift=shift,
            mean=mean,
            variance=variance,
            epsilon=decimal(values.get("epsilon", 1e-5)),
            momentum=round(1 - decimal(values.get("momentum", 0.9)), 7),
            frozen=is_frozen(node),
        )

    def relation(self, node: onnx.NodeProto, graph: Channels) -> Relation:
        """Each channel by itself, four vectors stored."""
        return Channelwise(stored=True)
