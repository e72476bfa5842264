"""Activations that onnxruntime-training has no gradient for → operators that have one.

Each is written so that nothing overflows and no large numbers are subtracted: large inputs keep their values and
gradients, what is not a number stays none, and at 0, which a filter without weights gives, the gradient is PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import onnx
from onnx import helper

from export.graph import attributes


class Spelling:
    """The nodes that stand for one activation; called with an operator's name and inputs, it adds one."""

    def __init__(self, node: onnx.NodeProto) -> None:
        self.x, *self.stored = node.input
        self.numbers: Mapping[str, float] = attributes(node)
        self.origin = node
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def __call__(self, kind: str, *inputs: str | float) -> str:
        """The value of an operator of these inputs; a number becomes a stored one."""
        made = f"{self.origin.output[0]}.step{len(self.nodes) + 1}"
        names = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        self.nodes.append(helper.make_node(kind, names, [made], made))
        self.nodes[-1].metadata_props.extend(self.origin.metadata_props)
        return made

    def _constant(self, value: float) -> str:
        name = f"{self.origin.output[0]}.number{len(self.constants) + 1}"
        self.constants.append(helper.make_tensor(name, onnx.TensorProto.FLOAT, [], [value]))
        return name


def _hard_swish(op: Spelling) -> None:
    """x · min(relu(x + 3), 6) / 6; PyTorch's gradient but at exactly 3."""
    between = op("Min", op("Relu", op("Add", op.x, 3.0)), 6.0)
    op("Mul", op.x, op("Mul", between, 1 / 6))


def _hard_sigmoid(op: Spelling) -> None:
    """min(relu(alpha · x + beta), 1); PyTorch's gradient but where it reaches exactly 1."""
    alpha, beta = op.numbers.get("alpha", 0.2), op.numbers.get("beta", 0.5)
    op("Min", op("Relu", op("Add", op("Mul", op.x, alpha), beta)), 1.0)


def _exponential(op: Spelling, alpha: float, scale: float, width: float) -> None:
    """scale · x above 0, scale · alpha · (exp(x / width) - 1) from there down.

    exp(z) - 1 is 2t / (1 - t) with t = tanh(z / 2), which loses nothing near 0, and is given no z above 0.
    """
    above = op("Greater", op.x, 0.0)
    half = op("Tanh", op("Mul", op("Where", above, 0.0, op.x), 0.5 / width))
    less = op("Div", op("Mul", half, 2 * alpha * scale), op("Sub", 1.0, half))
    op("Where", above, op("Mul", op.x, scale) if scale != 1 else op.x, less)


def _elu(op: Spelling) -> None:
    _exponential(op, op.numbers.get("alpha", 1.0), 1.0, 1.0)


def _selu(op: Spelling) -> None:
    _exponential(op, op.numbers.get("alpha", 1.6732632), op.numbers.get("gamma", 1.050701), 1.0)


def _celu(op: Spelling) -> None:
    alpha = op.numbers.get("alpha", 1.0)
    _exponential(op, alpha, 1.0, alpha)


def _softplus(op: Spelling) -> None:
    """log(1 + exp(x)), and x itself above 20, where they are the same float32."""
    above = op("Greater", op.x, 20.0)
    rest = op("Log", op("Add", op("Exp", op("Where", above, 0.0, op.x)), 1.0))
    op("Where", above, op.x, rest)


def _mish(op: Spelling) -> None:
    """x · n / (n + 2) with n = e · (e + 2), e = exp(x); from 10 on the quotient is 1."""
    grown = op("Exp", op("Min", op.x, 10.0))
    n = op("Mul", grown, op("Add", grown, 2.0))
    op("Mul", op.x, op("Div", n, op("Add", n, 2.0)))


def _prelu(op: Spelling) -> None:
    """x above 0, slope · x from there down."""
    above = op("Greater", op.x, 0.0)
    below = op("Mul", op("Where", above, 0.0, op.x), op.stored[0])
    op("Where", above, op.x, below)


SPELLINGS: Mapping[str, Callable[[Spelling], None]] = MappingProxyType(
    {
        "HardSwish": _hard_swish,
        "HardSigmoid": _hard_sigmoid,
        "Elu": _elu,
        "Selu": _selu,
        "Celu": _celu,
        "Softplus": _softplus,
        "Mish": _mish,
        "PRelu": _prelu,
    }
)


def spell_out_activations(model: onnx.ModelProto) -> int:
    """Replace every activation of `SPELLINGS` by other operators; return how many.

    Ensures values and gradients that are PyTorch's up to float32 rounding of numbers around 1.
    """
    graph = model.graph
    nodes: list[onnx.NodeProto] = []
    changed = 0
    for node in graph.node:
        spelled = SPELLINGS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if spelled is None:
            nodes.append(node)
            continue
        op = Spelling(node)
        spelled(op)
        op.nodes[-1].name = op.nodes[-1].output[0] = node.output[0]
        nodes.extend(op.nodes)
        graph.initializer.extend(op.constants)
        changed += 1
    if changed:
        kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(kept)
    return changed
