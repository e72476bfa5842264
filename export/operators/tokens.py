"""Stored tokens in front of positions, and positions picked or listed, as `passes/channels_first.py` writes them."""

from __future__ import annotations

import onnx

from edge.network import Operator
from edge.network.operators.tokens import Positions, Prepend, SelectPositions
from export.graph import attributes
from export.operators.lowering import Lowering
from export.operators.rule import Rule

# Nodes in lowering's graph.
PREPEND, POSITIONS_PICKED, POSITIONS_LISTED = "PrependTokens", "PickPositions", "ListPositions"


class PrependRule(Rule):
    """Stored tokens in front."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """A parameter of the model."""
        if node.input[1] not in lowering.stored:
            raise lowering.refused(node, "only parameters can be tokens")
        return Prepend(node.output[0], lowering.inputs(node), shape, tokens=lowering.parameter(node, 1))


class PositionsRule(Rule):
    """Some positions that follow one another."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """From which on, and how many."""
        first = int(attributes(node)["first"])
        return Positions(node.output[0], lowering.inputs(node), shape, first=first, count=shape[2])


class SelectPositionsRule(Rule):
    """Positions in a stored order."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """Those of the list."""
        listed = lowering.listed(node.input[1], lowering.constants[node.input[1]])
        return SelectPositions(node.output[0], lowering.inputs(node), shape, listed=listed)
