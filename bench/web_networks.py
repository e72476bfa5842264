"""A native network as TensorFlow.js takes it, layers with channels last and weights with their zeros, and a batch."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.compiled.plan import read_plan
from edge.network import Add, BatchNorm, Conv, Flatten, GlobalAvgPool, Linear, Operator, Relu, read_network
from edge.weight.formats import decode


@dataclass(frozen=True)
class Images:
    """A batch: `pixels` uint8 (batch, c, h, w), `normalised` float32 (batch, h, w, c), and its labels."""

    pixels: np.ndarray
    normalised: np.ndarray
    labels: list[int]
    classes: int
    sparsity: float


def images_for(plan: Path, batch: int) -> Images:
    """Random pixels for a compiled plan, as it normalises them."""
    compiled = read_plan(plan)
    head = compiled.head
    pixels = np.random.default_rng(0).integers(0, 256, (batch, head.channels, head.height, head.width), dtype=np.uint8)
    mean, std = (np.asarray(value, np.float32) for value in (compiled.preprocess.mean, compiled.preprocess.std))
    normalised = (pixels.transpose(0, 2, 3, 1).astype(np.float32) / 255 - mean) / std
    labels = [place % head.classes for place in range(batch)]
    return Images(pixels, np.ascontiguousarray(normalised, np.float32), labels, head.classes, head.sparsity)


def _conv(operator: Conv) -> dict[str, Any]:
    top, left, bottom, right = operator.padding
    assert top == left == bottom == right
    assert (operator.groups, operator.dilation, operator.bias) == (1, (1, 1), None)
    return {"stride": list(operator.stride), "padding": top, "weight": operator.weight}


def _norm(operator: BatchNorm) -> dict[str, Any]:
    names = ("scale", "shift", "mean", "variance", "epsilon", "momentum")
    return {name: getattr(operator, name) for name in names}


LAYERS: dict[type[Operator], Callable[[Any], dict[str, Any]]] = {
    Conv: _conv,
    BatchNorm: _norm,
    Linear: lambda operator: {"weight": operator.weight, "bias": operator.bias},
    **dict.fromkeys((Relu, Add, GlobalAvgPool, Flatten), lambda _: {}),
}


def layers_last(artifact: Path) -> dict[str, Any]:
    """Operators and dense parameters of a network of LAYERS; weights (kh, kw, in, out) and (in, out)."""
    network = read_network(artifact)
    operators = [
        {"op": each.op, "name": each.name, "inputs": list(each.inputs), **LAYERS[type(each)](each)}
        for each in network.operators
    ]
    parameters = []
    for name, parameter in network.parameters.items():
        values = np.ascontiguousarray(_last(decode(parameter)), "<f4")
        parameters.append(
            {
                "name": name,
                "shape": list(values.shape),
                "values": base64.b64encode(values.tobytes()).decode(),
                "trainable": parameter.trainable,
            }
        )
    return {"operators": operators, "parameters": parameters}


def _last(values: np.ndarray) -> np.ndarray:
    order = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}[values.ndim]
    return values.transpose(order)
