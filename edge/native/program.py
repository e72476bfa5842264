"""Writes the list of steps of a training pass or a prediction, with the lifetime of every buffer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from edge.native.backward import Backward
from edge.native.forward import Forward
from edge.native.geometry import sample_groups
from edge.native.graph import Node, build_graph
from edge.native.layout import WeightLayout, weight_layout
from edge.native.segments import Segment, cut_segments, dropped_sums
from edge.native.specs import Spec
from edge.network import Network, select_trainable
from edge.plan.choices import Choices
from edge.plan.footprint import Buffer


@dataclass(frozen=True)
class Model:
    """What all programs of an engine share: the graph, the layouts of its weights, what is trained."""

    network: Network
    choices: Choices
    nodes: tuple[Node, ...]
    layouts: Mapping[str, WeightLayout]  # by parameter name
    trained: frozenset[str]
    needs: frozenset[Node]  # nodes whose value's gradient something trained depends on


@dataclass(frozen=True)
class Listing:
    """The steps for one size of micro-batch: `start` of those repeated per micro-batch, `body` their end."""

    specs: tuple[Spec, ...]
    buffers: tuple[Buffer, ...]
    start: int
    body: int
    groups: int
    samples: int


def build_model(network: Network, choices: Choices) -> Model:
    """The graph and every weight's sizes; raises InputError for what the engine cannot hold."""
    nodes = build_graph(network)
    trained = frozenset(select_trainable(network, choices.trainable))
    needs: set[Node] = set()
    layouts: dict[str, WeightLayout] = {}
    for node in nodes:
        inputs_need = any(value.node in needs for value in node.inputs)
        own = node.operator.parameters().values() if node.operator and node.kind == "conv" else ()
        norm = (node.norm.scale, node.norm.shift) if node.norm else ()
        if inputs_need or any(name in trained for name in (*own, *norm)):
            needs.add(node)
        if node.kind == "conv":
            weight = node.operator.weight  # type: ignore[union-attr]
            layouts[weight] = weight_layout(
                node.operator,  # type: ignore[arg-type]
                network,
                choices,
                weight in trained,
                inputs_need,
            )
    return Model(network, choices, tuple(nodes), layouts, trained, frozenset(needs))


def training_listing(model: Model, micro_batch: int) -> Listing:
    """Zero the gradients; forward and backward of a micro-batch; update."""
    groups, samples = sample_groups(micro_batch)
    forward = Forward(model, groups, samples, training=True)
    forward.steps.emit(Spec("zero", "zero gradients"))
    start = len(forward.steps.specs)
    segments = cut_segments(model.nodes) if model.choices.recompute == "blocks" else [Segment(model.nodes, ())]
    dropped = dropped_sums(model.nodes) if model.choices.recompute == "activations" else frozenset()
    for node in model.nodes:
        forward.node(node)
    backward = Backward(forward, dropped)
    backward.loss()
    for number, segment in reversed(list(enumerate(segments))):
        if number < len(segments) - 2:
            backward.recompute(segment)
        for node in reversed(segment.nodes):
            backward.node(node)
    body = len(forward.steps.specs)
    forward.steps.emit(Spec("update", "update"))
    return Listing(tuple(forward.steps.specs), forward.steps.buffers(), start, body, groups, samples)


def prediction_listing(model: Model, micro_batch: int) -> Listing:
    """Forward in evaluation mode; logits."""
    groups, samples = sample_groups(micro_batch)
    forward = Forward(model, groups, samples, training=False)
    for node in model.nodes:
        forward.node(node)
    last = model.nodes[-1]
    forward.steps.emit(Spec("output", "logits", a=forward.view(last), numbers={"classes": prod(last.image)}))
    end = len(forward.steps.specs)
    return Listing(tuple(forward.steps.specs), forward.steps.buffers(), 0, end, groups, samples)
