"""Writing a native network, in a form that `read_network` accepts and that is the same for the same network."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from edge.formats import check_parameter
from edge.network.checking import DESCRIPTION, check_network
from edge.network.network import Network
from edge.network.reading import ALIGNMENT, DTYPES, SCHEMA, TENSORS
from edge.parameter import Parameter


def write_network(network: Network, directory: str | Path) -> None:
    """Write network.json and network.bin into an existing directory; each appears whole or not at all.

    Raises FormatError or DamagedError for a network that could not be read back.
    """
    for parameter in network.parameters.values():
        check_parameter(parameter)
    check_network(network)
    folder = Path(directory)
    described: dict[str, Any] = {}
    with _Replaced(folder / TENSORS) as file:
        for name, parameter in network.parameters.items():
            described[name] = _describe(parameter) | {"tensors": _write_tensors(parameter, file)}
        bin_bytes = file.tell()
    content = {
        "schema": SCHEMA,
        "input": network.input,
        "classes": network.classes,
        "bin_bytes": bin_bytes,
        "operators": [{"op": operator.op} | asdict(operator) for operator in network.operators],
        "parameters": described,
    }
    with _Replaced(folder / DESCRIPTION) as file:
        file.write(_lines(content).encode("utf-8"))


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


class _Replaced:
    """A file that takes the place of `path` when the block ends well, and leaves nothing when it does not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")

    def __enter__(self) -> BinaryIO:
        self._file: BinaryIO = self._part.open("wb")
        return self._file

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file.close()
        if kind is None:
            self._part.replace(self._path)
        else:
            self._part.unlink(missing_ok=True)
