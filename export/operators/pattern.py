"""Several nodes that are one operator of the network: found behind the last of them, before anything is lowered."""

from __future__ import annotations

from abc import ABC, abstractmethod

import onnx

from edge.network import Operator
from export.operators.lowering import Lowering


class Match(ABC):
    """One place where a pattern was found. Nodes between `reads` and the last node are lowered if others read them.

    `reads`: the values, of those that an image is in, that the operator takes.
    """

    reads: tuple[str, ...]

    @abstractmethod
    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """The operator, which writes `shape` a sample under the name of the last node's value."""


class Pattern(ABC):
    """A way to write an operator of the network with several ONNX nodes."""

    @abstractmethod
    def find(self, node: onnx.NodeProto, lowering: Lowering) -> Match | None:
        """The match that ends with a node, if it is one that `lower` never refuses."""
