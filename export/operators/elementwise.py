"""ONNX operators that compute each element of their output from the same element of their inputs."""

from __future__ import annotations

import onnx

from export.operators.relation import UNKNOWN, Channels, Channelwise, Relation

ELEMENTWISE = frozenset(
    {"Abs", "Add", "Celu", "Clip", "Div", "Elu", "Equal", "Erf", "Exp", "Gelu", "Greater", "GreaterOrEqual"}
    | {"HardSigmoid", "HardSwish", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Min", "Mish", "Mul", "Neg", "Pow"}
    | {"PRelu", "Reciprocal", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Sub", "Tanh", "Where"}
)


def is_elementwise(node: onnx.NodeProto) -> bool:
    """True for one of ONNX's own."""
    return node.op_type in ELEMENTWISE and node.domain in ("", "ai.onnx")


def elementwise(node: onnx.NodeProto, graph: Channels) -> Relation:
    """Each channel from the same one of every input, where those are of one shape or single stored numbers."""
    names = [name for name in node.input if name]
    computed = {graph.sizes.get(name) for name in names if name not in graph.weights}
    single = all(graph.weights[name].size == 1 for name in names if name in graph.weights)
    alike = len(computed) == 1 and None not in computed and single
    return Channelwise(values=len(node.input)) if is_elementwise(node) and alike else UNKNOWN
