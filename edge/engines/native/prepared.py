"""Prepares a network for the engine."""

from __future__ import annotations

from edge.engines.native.graph import build_graph
from edge.engines.native.layout import WeightLayout
from edge.engines.native.model import Model
from edge.engines.native.node import Node
from edge.network import Network, select_trainable
from edge.plan.choices import Choices


def build_model(network: Network, choices: Choices) -> Model:
    """The graph and every weight's sizes; raises InputError for what the engine cannot hold."""
    nodes = build_graph(network)
    trained = frozenset(select_trainable(network, choices.trainable))
    needs: set[Node] = set()
    layouts: dict[str, WeightLayout] = {}
    for node in nodes:
        inputs_need = any(value.node in needs for value in node.inputs)
        own = node.operator.parameters().values() if node.operator else ()
        norm = (node.norm.scale, node.norm.shift) if node.norm else ()
        if inputs_need or any(name in trained for name in (*own, *norm)):
            needs.add(node)
        layouts.update(node.family.layouts(node, network, choices, trained, inputs_need))
    return Model(network, choices, tuple(nodes), layouts, trained, frozenset(needs))
