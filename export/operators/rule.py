"""What export knows of one ONNX operator."""

from __future__ import annotations

from abc import ABC, abstractmethod

import onnx

from edge.network import Operator
from export.operators.lowering import Lowering
from export.operators.relation import UNKNOWN, Channels, Relation


class Rule(ABC):
    """How a node of one kind becomes an operator of the network, and how its channels relate."""

    @abstractmethod
    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """The operator, which writes `shape` a sample; raises InputError for a use that the network has not."""

    def relation(self, node: onnx.NodeProto, graph: Channels) -> Relation:
        """How the node's channels relate, where nothing that it stores is another node's too."""
        return UNKNOWN
