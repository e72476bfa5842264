"""Which compressed form each sparse layer is written in, and how much room it has to grow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from math import prod

import numpy as np
import onnx

from edge.errors import InputError as EdgeInputError
from edge.formats import encode_parameter
from edge.network import Network
from edge.network.operators import Conv, Linear, Operator, Select
from edge.parameter import Parameter
from export.graph import attributes, consumers, producers, tensors
from export.sparse_layer import SparseLayer
from mest.errors import InputError

FORMATS = ("auto", "dense", "masked", "csr", "block", "pattern", "channel")
ROOM = {"none": Fraction(0), "em": Fraction(0), "ems": Fraction(1, 5)}  # share of the kept weights grown on top of them


def compress(model: onnx.ModelProto, layers: Mapping[str, SparseLayer], format: str) -> dict[str, Parameter]:
    """Every sparse weight of a graph in its compressed form, by name.

    `auto` takes the fewest bytes per layer among the forms that keep its zeros; `dense` gives the zeros up. Requires a
    compacted graph: a channel-sparse weight is already small there, and one that is whole needs no form. Raises
    InputError for a form that cannot hold a layer.
    """
    if format not in FORMATS:
        raise InputError(f"--format {format}: allowed are {', '.join(FORMATS)}")
    if format == "dense":
        return {}
    weights, makers, readers = tensors(model.graph), producers(model.graph), consumers(model.graph)
    compressed = {}
    for name, layer in layers.items():
        node = readers[name][0]
        weight, mask, target = weights[name], layer.mask, layer.target_sparsity
        if mask.shape != weight.shape:
            gather = makers.get(node.input[0])
            if gather is None or gather.op_type != "Gather" or gather.input[1] != f"{name}.channels":
                continue  # nothing is left out: a smaller dense layer
            weight, mask = _spread(weight, weights[gather.input[1]], model, gather)
            target = 1 - float(mask.mean())
        try:
            compressed[name] = encode_parameter(
                name,
                weight * mask,
                mask,
                scheme=layer.scheme,
                height=layer.height,
                target_sparsity=target,
                format=format,
                groups=int(attributes(node).get("group", 1)),
            )
        except EdgeInputError as refused:
            raise InputError(f"--format {format}: {refused}") from refused
    return compressed


def _spread(
    weight: np.ndarray, channels: np.ndarray, model: onnx.ModelProto, gather: onnx.NodeProto
) -> tuple[np.ndarray, np.ndarray]:
    """A cut weight among all channels that its layer is offered, with the mask that says which it reads."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    offered = next(
        value.type.tensor_type.shape.dim[1].dim_value
        for value in (*inferred.value_info, *inferred.input)
        if value.name == gather.input[0]
    )
    spread = np.zeros((weight.shape[0], offered, *weight.shape[2:]), weight.dtype)
    spread[:, channels] = weight
    mask = np.zeros(spread.shape, bool)
    mask[:, channels] = True
    return spread, mask


def slots(parameter: Parameter, room: str) -> int:
    """Stored values' rows (weights, blocks or kernels) that the densest phase needs: at least those there now.

    EM&S grows to the target t less a fifth of what is kept, t − 0.2 (1 − t), and keeps ⌊(1 − s) · weights⌋ in exact
    decimals, as training does.
    """
    present = len(parameter.values)
    if parameter.target_sparsity is None or parameter.format not in ("csr", "block", "pattern"):
        return present
    kept = 1 - Fraction(str(parameter.target_sparsity))
    weights = kept * (1 + ROOM[room]) * parameter.size
    unit = prod(parameter.values.shape[1:])
    total = parameter.size // (9 if parameter.format == "pattern" else unit)
    return min(total, max(present, int(weights / unit)))


def with_compressed(network: Network, compressed: Mapping[str, Parameter]) -> Network:
    """The native network with its sparse weights in compressed form, channel lists merged into the layers."""
    operators: list[Operator] = []
    merged: dict[str, Select] = {}
    lists: set[str] = set()
    for operator in network.operators:
        if isinstance(operator, Select) and operator.channels.removesuffix(".channels") in compressed:
            merged[operator.name] = operator
            lists.add(operator.channels)
            continue
        if isinstance(operator, Conv | Linear) and operator.inputs[0] in merged:
            operator = replace(operator, inputs=merged[operator.inputs[0]].inputs)
        operators.append(operator)
    parameters = {
        name: replace(compressed[name], trainable=parameter.trainable) if name in compressed else parameter
        for name, parameter in network.parameters.items()
        if name not in lists
    }
    return replace(network, operators=tuple(operators), parameters=parameters)
