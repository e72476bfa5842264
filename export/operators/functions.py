"""Activations as they are written out: any elementwise nodes between one value and another that compute one of ours.

PyTorch's exporter spells GELU with five nodes and softplus with five others, and models spell SiLU, hard swish and Mish
by hand. They are known by what they compute: the nodes are evaluated on a range of numbers in float64, and compared
with what the numpy referee makes of each activation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edge.engines.reference.operators.registry import RULES as REFEREE
from edge.network import Operator, Relu, Relu6
from edge.network.operators.activation_functions import (
    Celu,
    Clip,
    Elu,
    Gelu,
    GeluTanh,
    HardSigmoid,
    LeakyRelu,
    Mish,
    Sigmoid,
    Silu,
    Softplus,
    Tanh,
)
from edge.network.operators.hard_swish import HardSwish
from export.graph import OPSET
from export.operators.activation import UNBOUNDED
from export.operators.elementwise import is_elementwise
from export.operators.lowering import Lowering, decimal
from export.operators.pattern import Match, Pattern
from export.operators.registry import rule_of

MOST_NODES = 12  # between the two values; GELU by tanh has nine
TOLERANCE = 1e-6  # relative to the value or to 1: constants such as the root of 2 are float32
NEAR, FAR = 1e-3, 1e4
BENT = 13.0  # where softplus is still further than the tolerance from a straight line
EXACT = 1e-9
Function = Callable[[float], float]
Evaluation = Callable[[np.ndarray], np.ndarray]
Numbers = Mapping[str, float]

_CORE = np.concatenate([np.linspace(-12, 12, 202), [-60, -30, -20.5, -15, 15, 20.5, 30, 60, -1, -NEAR, 0, NEAR, 1]])
_BEYOND = np.array([-UNBOUNDED, -1e8, -FAR, FAR, 1e8, UNBOUNDED])  # where a spelling may overflow
POINTS = np.concatenate([_CORE, _BEYOND])


def _no_numbers(function: Function) -> Numbers:
    return {}


def _slope(function: Function) -> Numbers:
    below = -function(-1)
    return {"alpha": below if below != -1 else np.nan}  # the absolute value has another gradient at 0


def _middle(function: Function) -> Numbers:
    return {"alpha": (function(NEAR) - function(-NEAR)) / (2 * NEAR), "beta": function(0)}


def _exponential(function: Function) -> Numbers:
    scale = function(1)
    return {"alpha": -function(-60) / scale if scale else 0.0, "beta": scale}


def _width(function: Function) -> Numbers:
    below = -function(-FAR)
    return {"alpha": below if below > 0 else np.nan}


def _sharpness(function: Function) -> Numbers:
    middle = function(0)
    if middle <= 0:
        return {"beta": np.nan}
    beta = float(np.log(2) / middle)
    return {"beta": beta, "threshold": _threshold(function, beta)}


def _threshold(function: Function, beta: float) -> float:
    """The beta · x from which on a softplus is x itself, found by halves; out of sight where that is no matter."""
    low, high = 0.0, BENT / beta
    if function(high) != high:
        return UNBOUNDED
    while high - low > EXACT * high:
        middle = (low + high) / 2
        low, high = (low, middle) if function(middle) == middle else (middle, high)
    return high * beta


def _bounds(function: Function) -> Numbers:
    low, high = function(-FAR), function(FAR)
    return {"low": low if low > -FAR else -UNBOUNDED, "high": high if high < FAR else UNBOUNDED}


# By kind of operator: its numbers, as one can tell them from the function. The first that computes the same is taken.
ACTIVATIONS: Mapping[type[Operator], Callable[[Function], Numbers]] = MappingProxyType(
    {
        Relu: _no_numbers,
        Relu6: _no_numbers,
        HardSwish: _no_numbers,
        Sigmoid: _no_numbers,
        Silu: _no_numbers,
        Tanh: _no_numbers,
        Gelu: _no_numbers,
        GeluTanh: _no_numbers,
        Softplus: _sharpness,
        Mish: _no_numbers,
        LeakyRelu: _slope,
        Clip: _bounds,
        HardSigmoid: _middle,
        Elu: _exponential,
        Celu: _width,
    }
)


@dataclass(frozen=True)
class Activation(Match):
    """An activation of one value."""

    reads: tuple[str, ...]
    kind: type[Operator]
    numbers: Numbers

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """The operator with its numbers."""
        (source,) = self.reads
        return self.kind(node.output[0], (lowering.names[source],), shape, **self.numbers)


class WrittenOut(Pattern):
    """Any activation of `ACTIVATIONS`."""

    def find(self, node: onnx.NodeProto, lowering: Lowering) -> Match | None:
        """The one that reads the earliest value."""
        for source in _sources(node, lowering):
            nodes = _between(source, node, lowering)
            if nodes is None or (len(nodes) == 1 and rule_of(node) is not None):
                continue
            found = _recognised(_evaluation(nodes, source, lowering))
            if found is not None:
                return Activation((source,), *found)
        return None


def _sources(node: onnx.NodeProto, lowering: Lowering) -> list[str]:
    """Values of the node's own shape that lead to it through elementwise nodes alone, the farthest first."""
    found: dict[str, None] = {}
    nodes = [node] if is_elementwise(node) else []
    for reached in nodes:
        for name in reached.input:
            if name not in lowering.moving or name in found:
                continue
            if lowering.sizes.get(name) == lowering.sizes.get(node.output[0]):
                found[name] = None
            maker = lowering.makers.get(name)
            if maker is not None and is_elementwise(maker) and len(nodes) < MOST_NODES:
                nodes.append(maker)
    return list(reversed(found))


def _between(source: str, last: onnx.NodeProto, lowering: Lowering) -> list[onnx.NodeProto] | None:
    """The nodes from a value to the last one, in order; None where they read anything but it and stored numbers."""
    needed = {last.output[0]}
    nodes: list[onnx.NodeProto] = []
    for node in reversed(lowering.graph.node[: lowering.places[last.output[0]] + 1]):
        if not needed.intersection(node.output):
            continue
        if not is_elementwise(node) or len(nodes) == MOST_NODES:
            return None
        nodes.append(node)
        for name in node.input:
            if name == source or not name:
                continue
            if name in lowering.moving:
                needed.add(name)
            elif name in lowering.trainable or name not in lowering.constants or lowering.constants[name].size != 1:
                return None
        needed.difference_update(node.output)
        if not needed:
            return nodes[::-1]
    return None


def _evaluation(nodes: Sequence[onnx.NodeProto], source: str, lowering: Lowering) -> Evaluation:
    """What the nodes make of numbers `(n,)`, float64."""
    stored = {name: lowering.constants[name] for node in nodes for name in node.input if name in lowering.constants}
    kinds = {name: np.float64 if array.dtype.kind == "f" else array.dtype for name, array in stored.items()}
    exact = {name: array.astype(kinds[name]) for name, array in stored.items()}
    graph = helper.make_graph(
        nodes,
        "function",
        [helper.make_tensor_value_info(source, onnx.TensorProto.DOUBLE, ["n"])],
        [helper.make_tensor_value_info(nodes[-1].output[0], onnx.TensorProto.DOUBLE, None)],
        [numpy_helper.from_array(array, name) for name, array in exact.items()],
    )
    evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)]))

    def evaluate(points: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            (found,) = evaluator.run(None, {source: points})
        return np.broadcast_to(np.asarray(found, np.float64).reshape(-1), points.shape)

    return evaluate


def _recognised(evaluate: Evaluation) -> tuple[type[Operator], Numbers] | None:
    """The activation that has the same values at `POINTS`."""
    values = evaluate(POINTS)
    known = np.isfinite(values)
    if not known[: len(_CORE)].all():
        return None

    def function(x: float) -> float:
        place = np.flatnonzero(x == POINTS)
        return float(values[place[0]] if len(place) else evaluate(np.array([x]))[0])

    for kind, numbers_of in ACTIVATIONS.items():
        numbers = {name: decimal(number) for name, number in numbers_of(function).items()}
        operator = kind("y", ("x",), POINTS.shape, **numbers)
        with np.errstate(all="ignore"):
            wanted = REFEREE[kind].forward(operator, [POINTS], {}, False)
        allowed = TOLERANCE * np.maximum(1, np.abs(wanted))
        if (np.abs(values - wanted) <= allowed)[known].all():
            return kind, numbers
    return None
