"""Add, Sub, Mul and Div of values and stored tensors, and what is one of them: Neg, Reciprocal and squares."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from edge.network import Arithmetic, Div, Mul, Operator
from edge.network.operators.activation_functions import Sqrt
from export.graph import attributes
from export.operators.lowering import Lowering
from export.operators.relation import CHANNELWISE, UNKNOWN, Channels, Relation
from export.operators.rule import Rule

ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "PRelu"})
FEATURES_LAST = "features_last"  # attribute of a node in lowering's graph: the stored operand has its channels last


class ArithmeticRule(Rule):
    """An operation of two operands, of which one may be stored."""

    def __init__(self, kind: type[Arithmetic]) -> None:
        self.kind = kind

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """Between two values, or one and a parameter or constant on either side."""
        stored = [index for index, name in enumerate(node.input) if name in lowering.constants]
        if not stored:
            return self.kind(node.output[0], lowering.inputs(node, 2), shape)
        if len(stored) == 2:
            raise lowering.refused(node, "it computes with parameters alone")
        value = lowering.value(node, 1 - stored[0])
        last = bool(attributes(node).get(FEATURES_LAST))
        made = self.kind(node.output[0], (value,), shape, stored_first=stored == [0], features_last=last)
        roles: dict[str, Any] = lowering.operand(node, stored[0])
        return replace(made, **roles)

    def relation(self, node: onnx.NodeProto, graph: Channels) -> Relation:
        """Each channel from both operands' where they have as many; what is repeated along the channels stays."""
        ranks = {len(graph.sizes.get(name, ())) for name in (*node.input, node.output[0]) if name not in graph.weights}
        return BROADCAST if len(ranks) == 1 else UNKNOWN  # a value of fewer dimensions has its channels elsewhere


class NegRule(Rule):
    """Neg."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """-1 · x."""
        minus = lowering.constant(node, np.float32(-1))
        return Mul(node.output[0], lowering.inputs(node), shape, constant=minus)

    def relation(self, node: onnx.NodeProto, graph: Channels) -> Relation:
        """Each channel by itself."""
        return CHANNELWISE


class ReciprocalRule(Rule):
    """Reciprocal."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """1 / x."""
        one = lowering.constant(node, np.float32(1))
        return Div(node.output[0], lowering.inputs(node), shape, constant=one, stored_first=True)

    def relation(self, node: onnx.NodeProto, graph: Channels) -> Relation:
        """Each channel by itself."""
        return CHANNELWISE


class PowRule(Rule):
    """Pow with a stored exponent."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """x · x, or √x."""
        exponent = lowering.constants.get(node.input[1])
        number = float(exponent.reshape(-1)[0]) if exponent is not None and exponent.size == 1 else None
        if number == 0.5:
            return Sqrt(node.output[0], lowering.inputs(node), shape)
        if number != 2:
            raise lowering.refused(node, "only squares and square roots are supported")
        return Mul(node.output[0], lowering.inputs(node) * 2, shape)

    def relation(self, node: onnx.NodeProto, graph: Channels) -> Relation:
        """Each channel by itself; the exponent is none of them."""
        return CHANNELWISE


class _Broadcast(Relation):
    def ask(self, node: onnx.NodeProto, graph: Channels, wanted: np.ndarray) -> None:
        """The same of what has the result's channels, all of what is repeated along them."""
        for name in node.input:
            if name not in graph.weights:
                graph.need(name, wanted if graph.count(name) == len(wanted) else None)

    def written(self, node: onnx.NodeProto, graph: Channels, wanted: np.ndarray) -> np.ndarray:
        """Those that are wanted."""
        return np.flatnonzero(wanted)

    def shrink(self, node: onnx.NodeProto, graph: Channels) -> list[onnx.NodeProto]:
        """A stored tensor with the result's channels loses the others; values are picked from."""
        result, outputs = node.output[0], graph.kept[node.output[0]]
        made: list[onnx.NodeProto] = []
        for index, name in enumerate(node.input):
            if name not in graph.weights:
                made += graph.gather(node, index, outputs) if graph.count(name) == graph.count(result) else []
                continue
            shape = graph.weights[name].shape
            axis = len(shape) - (len(graph.sizes[result]) - 1)  # of the channels
            if axis >= 0 and shape[axis] == graph.count(result):
                graph.cut(name, *([outputs] if axis == 0 else [np.arange(1), outputs]))
        return made


BROADCAST = _Broadcast()
