"""Products of two values and softmax, as `passes/products.py` writes them."""

from __future__ import annotations

import onnx

from edge.network import Operator
from edge.network.operators.products import MatMul, Softmax
from export.graph import attributes
from export.operators.lowering import Lowering
from export.operators.rule import Rule

PRODUCT, SOFTMAX = "ProductOfValues", "SoftmaxOfRows"  # nodes in lowering's graph


class ProductRule(Rule):
    """A matrix product for each channel."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """Which of the two is turned."""
        first, second = (bool(value) for value in attributes(node)["turned"])
        inputs = lowering.inputs(node, 2)
        return MatMul(node.output[0], inputs, shape, first_turned=first, second_turned=second)


class SoftmaxRule(Rule):
    """Along the rows."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """It has no numbers of its own."""
        return Softmax(node.output[0], lowering.inputs(node), shape)
