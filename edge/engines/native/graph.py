"""The network as the engine sees it: operators with their batch norm and activation folded into how they are read."""

from __future__ import annotations

from edge.engines.native.draft import Draft
from edge.engines.native.node import Node, Value
from edge.engines.native.operators.registry import find_rule
from edge.engines.native.operators.stored import COPY, GIVEN
from edge.network import INPUT, Network


def build_graph(network: Network) -> list[Node]:
    """Nodes in topological order; the last one stores the logits."""
    draft = Draft({name: len(found) for name, found in network.consumers().items()})
    values = {INPUT: Value(draft.add(INPUT, GIVEN, (), network.input), network.input)}
    for operator in network.operators:
        inputs = tuple(values[name] for name in operator.inputs)
        values[operator.name] = find_rule(operator).take_up(draft, operator, inputs)
    logits = values[network.logits]
    if not logits.node.plain or logits.node is not draft.nodes[-1]:
        draft.add(f"{network.logits}.logits", COPY, (logits,), logits.node.image)
    return draft.finished()
