"""Relu and Clip."""

from __future__ import annotations

import numpy as np
import onnx

from edge.network import Operator, Relu, Relu6
from edge.network.operators.activation_functions import Clip
from export.operators.lowering import Lowering, decimal
from export.operators.relation import CHANNELWISE, Channels, Relation
from export.operators.rule import Rule

UNBOUNDED = 1e30  # what stands for a bound that is not there


class ReluRule(Rule):
    """Relu."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """max(x, 0)."""
        return Relu(node.output[0], lowering.inputs(node), shape)

    def relation(self, node: onnx.NodeProto, graph: Channels) -> Relation:
        """Each channel by itself."""
        return CHANNELWISE


class FunctionRule(Rule):
    """A function of one number that has none of its own."""

    def __init__(self, kind: type[Operator]) -> None:
        self.kind = kind

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """The operator of that kind."""
        return self.kind(node.output[0], lowering.inputs(node), shape)

    def relation(self, node: onnx.NodeProto, graph: Channels) -> Relation:
        """Each channel by itself."""
        return CHANNELWISE


class ClipRule(Rule):
    """Clip between stored bounds."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """Both bounds, of which ONNX may leave out either; from 0 to 6 it is ReLU6."""
        low, high = self.bound(node, 1, lowering, -UNBOUNDED), self.bound(node, 2, lowering, UNBOUNDED)
        if (low, high) == (0.0, 6.0):
            return Relu6(node.output[0], lowering.inputs(node), shape)
        return Clip(node.output[0], lowering.inputs(node), shape, low=low, high=high)

    @staticmethod
    def bound(node: onnx.NodeProto, index: int, lowering: Lowering, otherwise: float) -> float:
        """A bound as the decimal that it was written as."""
        if len(node.input) <= index or not node.input[index]:
            return otherwise
        name = node.input[index]
        if name not in lowering.constants or name in lowering.trainable:
            raise lowering.refused(node, f"its bound {name} is computed or trained; only stored bounds are supported")
        return decimal(float(np.clip(lowering.constants[name].reshape(-1)[0], -UNBOUNDED, UNBOUNDED)))

    def relation(self, node: onnx.NodeProto, graph: Channels) -> Relation:
        """Each channel by itself; its bounds are none of them."""
        return CHANNELWISE
