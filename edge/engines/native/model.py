"""What all programs of an engine share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge.engines.native.layout import WeightLayout
from edge.engines.native.node import Node
from edge.network import Network
from edge.plan.choices import Choices


@dataclass(frozen=True)
class Model:
    """A network prepared for the engine: its graph, the layouts of its weights, what is trained."""

    network: Network
    choices: Choices
    nodes: tuple[Node, ...]
    layouts: Mapping[str, WeightLayout]  # by parameter name
    trained: frozenset[str]
    needs: frozenset[Node]  # nodes whose value's gradient something trained depends on

    def batch_statistics(self, node: Node, samples: int) -> bool:
        """True if training normalises a node's value by its own batch of so many samples, not by running statistics."""
        norm = node.norm
        return self.choices.batch_norm == "train" and norm is not None and not norm.frozen and norm.has_spread(samples)
