"""Which compressed form each sparse layer is written in, and how much room it has to grow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from math import prod

import numpy as np
import onnx

from edge.errors import InputError as EdgeInputError
from edge.network import Network
from edge.network.operators import Operator, Select
from edge.spelling import named
from edge.weight.formats import encode_parameter
from edge.weight.parameter import Parameter
from export.graph import attributes, consumers, tensors
from export.kept import Kept, cut
from export.passes.windows import with_row
from export.sparse_layer import SparseLayer
from mest.errors import InputError

FORMATS = ("auto", "dense", "masked", "csr", "block", "pattern", "channel")
ROOM = {"none": Fraction(0), "em": Fraction(0), "ems": Fraction(1, 5)}  # share of the kept weights grown on top of them


def compress(
    model: onnx.ModelProto, layers: Mapping[str, SparseLayer], kept: Mapping[str, Kept], format: str
) -> dict[str, Parameter]:
    """Every sparse weight of a graph in its compressed form, by name.

    `auto` takes the fewest bytes per layer among the forms that keep its zeros; `dense` gives the zeros up. `kept` is
    what compaction left of the graph: a channel-sparse weight is small there already, and has a form only if its layer
    gathers the channels that it reads. Raises InputError for a form that cannot hold a layer.
    """
    if format not in FORMATS:
        raise InputError(f"{named('format')} {format}: allowed are {', '.join(FORMATS)}")
    if format == "dense":
        return {}
    weights, readers = tensors(model.graph), consumers(model.graph)
    compressed = {}
    for name, layer in layers.items():
        if name not in weights or name not in readers:
            raise InputError(f"{name}: is sparse, but the exported graph does not use it as it is stored")
        left = kept.get(name)
        weight, mask, target = weights[name], cut(layer.mask, left), layer.target_sparsity
        form = format
        if layer.scheme == "channel" and left is None and format == "auto" and not mask.all():
            form = "csr"  # a foreign layer, whose inputs cannot be gathered
        if left is not None and left.offered is not None and left.inputs is not None:
            weight, mask = _spread(weight, left.inputs, left.offered)
            target = 1 - float(mask.mean())
        elif left is not None and mask.all():
            continue  # nothing is left out: a smaller dense layer
        try:
            compressed[name] = encode_parameter(
                name,
                weight * mask,
                mask,
                scheme=layer.scheme,
                height=layer.height,
                target_sparsity=target,
                format=form,
                groups=int(attributes(readers[name][0]).get("group", 1)),
            )
        except EdgeInputError as refused:
            raise InputError(f"{named('format')} {format}: {refused}") from refused
    return compressed


def _spread(weight: np.ndarray, read: np.ndarray, offered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A cut weight among all channels that its layer is offered, with the mask that says which it reads."""
    channels = np.searchsorted(offered, read)
    spread = np.zeros((weight.shape[0], len(offered), *weight.shape[2:]), weight.dtype)
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
        if operator.inputs[0] in merged:
            operator = replace(operator, inputs=merged[operator.inputs[0]].inputs)
        operators.append(operator)
    parameters = {
        name: replace(_as_in(parameter, compressed[name]), trainable=parameter.trainable)
        if name in compressed
        else parameter
        for name, parameter in network.parameters.items()
        if name not in lists
    }
    return replace(network, operators=tuple(operators), parameters=parameters)


def _as_in(parameter: Parameter, compressed: Parameter) -> Parameter:
    """A compressed weight with as many dimensions as it has in the network, where kernels of windows have a row."""
    if len(compressed.shape) == len(parameter.shape):
        return compressed
    rank = len(compressed.shape)
    tensors = {role: with_row(array) if array.ndim == rank else array for role, array in compressed.tensors.items()}
    return replace(compressed, shape=(*compressed.shape[:-1], 1, compressed.shape[-1]), tensors=tensors)
