"""Writing a native network, in a form that `read_network` accepts and that is the same for the same network."""

from __future__ import annotations

import json
from dataclasses import fields
from io import BufferedWriter
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from edge.files.durable import replaced, write_durably
from edge.network.checking import DESCRIPTION, check_network
from edge.network.network import Network
from edge.network.operators import Operator
from edge.network.operators.fields import kind_of
from edge.network.reading import ALIGNMENT, DTYPES, SCHEMA, TENSORS
from edge.weight.formats import check_parameter
from edge.weight.parameter import Parameter


def write_network(network: Network, directory: str | Path) -> None:
    """Write network.json and network.bin into an existing directory; each appears whole or not at all.

    Raises FormatError or DamagedError for a network that could not be read back.
    """
    for parameter in network.parameters.values():
        check_parameter(parameter)
    check_network(network)
    folder = Path(directory)
    described: dict[str, Any] = {}
    with replaced(folder / TENSORS) as raw:
        file = BufferedWriter(raw)
        for name, parameter in network.parameters.items():
            described[name] = _describe(parameter) | {"tensors": _write_tensors(parameter, file)}
        bin_bytes = file.tell()
        file.flush()
        file.detach()  # the file is closed by who opened it
    content = {
        "schema": SCHEMA,
        "input": network.input,
        "classes": network.classes,
        **({} if network.task.of_classes else {"task": network.task.name}),
        "bin_bytes": bin_bytes,
        "operators": [describe_operator(operator) for operator in network.operators],
        "parameters": described,
    }
    write_durably(folder / DESCRIPTION, _lines(content).encode("utf-8"))


def describe_operator(operator: Operator) -> dict[str, Any]:
    """An operator's entry in `operators`: its name there and its fields, but for those that go without saying."""
    values = {field.name: (kind_of(field), getattr(operator, field.name)) for field in fields(operator)}
    stated = {name: value for name, (kind, value) in values.items() if not kind.left_out(value)}
    return {"op": operator.op} | stated


def _describe(parameter: Parameter) -> dict[str, Any]:
    described: dict[str, Any] = {
        "shape": parameter.shape,
        "format": parameter.format,
        "trainable": parameter.trainable,
        "scheme": parameter.scheme,
        "target_sparsity": parameter.target_sparsity,
    }
    optional = {"height": parameter.height, "coding": parameter.coding}
    return described | {name: value for name, value in optional.items() if value is not None}


def _write_tensors(parameter: Parameter, file: BinaryIO) -> dict[str, Any]:
    tensors = {}
    for part, tensor in parameter.tensors.items():
        file.write(bytes(-file.tell() % ALIGNMENT))
        dtype = tensor.dtype.name
        tensors[part] = {"dtype": dtype, "shape": tensor.shape, "offset": file.tell()}
        file.write(np.ascontiguousarray(tensor, DTYPES[dtype]).tobytes())
    return tensors


def _lines(content: dict[str, Any]) -> str:
    """JSON with one operator and one parameter per line, so that two networks can be compared by eye."""
    text = {key: json.dumps(value) for key, value in content.items()}
    text["operators"] = "[\n" + ",\n".join(f"  {json.dumps(each)}" for each in content["operators"]) + "\n ]"
    entries = (f"  {json.dumps(name)}: {json.dumps(each)}" for name, each in content["parameters"].items())
    text["parameters"] = "{\n" + ",\n".join(entries) + "\n }"
    return "{\n" + ",\n".join(f' "{key}": {value}' for key, value in text.items()) + "\n}\n"
