"""Reading a native network. Both files are hostile until proven otherwise: see docs/network-format.md."""

from __future__ import annotations

import mmap
from dataclasses import fields
from itertools import pairwise
from math import prod
from pathlib import Path

import numpy as np

from edge.errors import DamagedError
from edge.files.fields import Fields, read_json
from edge.network.checking import DESCRIPTION, MAX_ELEMENTS, check_network
from edge.network.network import Network, release_pages
from edge.network.operators import OPERATORS, Operator
from edge.network.operators.fields import MAX_DIMENSION, kind_of
from edge.tasks.registry import CLASSIFICATION, TASKS
from edge.weight.formats import FormatError, check_parameter
from edge.weight.parameter import SCHEMES, Parameter

SCHEMA = "mest-network/1"
TENSORS = "network.bin"
ALIGNMENT = 64  # bytes

MAX_DESCRIPTION_BYTES = 4 * 2**20
MAX_BIN_BYTES = 2**40
DTYPES = {name: np.dtype(name).newbyteorder("<") for name in ("float32", "int32", "uint8", "uint16", "uint32")}


def read_network(directory: str | Path) -> Network:
    """The network in an artifact directory, its tensors mapped and not yet resident.

    Raises DamagedError, naming file and place, for anything that docs/network-format.md does not allow.
    """
    path = Path(directory) / DESCRIPTION
    top = Fields(read_json(path, MAX_DESCRIPTION_BYTES), DESCRIPTION, "the network")
    schema = top.text("schema")
    if schema != SCHEMA:
        raise DamagedError(f"{path}: schema {schema!r:.40} is not {SCHEMA!r}; export again with this version of mest")
    shape = top.integers("input", 1, MAX_DIMENSION, 3)
    if prod(shape) > MAX_ELEMENTS:
        top.fail(f"an input of {list(shape)} is too large")
    classes = top.integer("classes", 1, MAX_DIMENSION)
    task = TASKS[top.choice("task", tuple(TASKS))] if top.has("task") else CLASSIFICATION
    bin_bytes = top.integer("bin_bytes", 0, MAX_BIN_BYTES)
    operators = top.items("operators")
    described = top.objects("parameters")
    top.done()

    mapping = _map(Path(directory) / TENSORS, bin_bytes)
    parameters = _read_parameters(described, mapping, bin_bytes)
    network = Network(
        input=(shape[0], shape[1], shape[2]),
        classes=classes,
        operators=tuple(
            read_operator(Fields(content, DESCRIPTION, f"operator {number}"))
            for number, content in enumerate(operators)
        ),
        parameters=parameters,
        mapping=mapping,
        task=task,
    )
    check_network(network)
    return network


def read_operator(source: Fields) -> Operator:
    """The operator that one entry of `operators` describes, its fields within bounds; raises DamagedError."""
    op = source.text("op")
    if op not in OPERATORS:
        source.fail(f"unknown op {op!r}; known: {', '.join(OPERATORS)}")
    kind = OPERATORS[op]
    arguments = {field.name: kind_of(field).read(source, field.name) for field in fields(kind)}
    source.done()
    return kind(**arguments)


def _read_parameters(described: dict[str, Fields], mapping: mmap.mmap | None, bin_bytes: int) -> dict[str, Parameter]:
    parameters = {}
    extents: list[tuple[int, int, str]] = []
    for name, source in described.items():
        source.place = f"parameter {name!r}"
        shape = source.integers("shape", 1, MAX_DIMENSION)
        if prod(shape) > MAX_ELEMENTS:
            source.fail(f"a shape of {list(shape)} is not possible")
        tensors = {}
        for part, tensor in source.objects("tensors").items():
            tensor.place = f"parameter {name!r}, tensor {part!r}"
            tensors[part], extent = _read_tensor(tensor, mapping, bin_bytes)
            extents.append((*extent, tensor.place))
        scheme = source.text("scheme") if source.has("scheme") else None
        if scheme is not None and scheme not in SCHEMES:
            source.fail(f"unknown scheme {scheme!r}; known: {', '.join(SCHEMES)}")
        parameter = Parameter(
            name=name,
            shape=shape,
            tensors=tensors,
            format=source.text("format"),
            trainable=source.boolean("trainable"),
            scheme=scheme,
            height=source.integer("height", 1, MAX_DIMENSION) if source.has("height") else None,
            target_sparsity=source.number("target_sparsity", 0.0, 1.0) if source.has("target_sparsity") else None,
            coding=source.text("coding") if source.has("coding") else None,
        )
        source.done()
        if not shape and parameter.format != "dense":
            source.fail("one number alone is dense")
        try:
            check_parameter(parameter)
        except FormatError as error:
            source.fail(str(error))
        parameters[name] = parameter
        release_pages(mapping)  # what was looked at
    extents.sort()
    for (_, end, before), (start, _, after) in pairwise(extents):
        if start < end:
            raise DamagedError(f"{DESCRIPTION}: {after} overlaps {before}; export the artifact again")
    return parameters


def _read_tensor(source: Fields, mapping: mmap.mmap | None, bin_bytes: int) -> tuple[np.ndarray, tuple[int, int]]:
    """A view of the mapped file, and the bytes from and to which it lies there."""
    name = source.text("dtype")
    if name not in DTYPES:
        source.fail(f"unknown dtype {name!r}; known: {', '.join(DTYPES)}")
    shape = source.integers("shape", 0, MAX_ELEMENTS)
    offset = source.integer("offset", 0, bin_bytes)
    source.done()
    count = prod(shape)
    end = offset + count * DTYPES[name].itemsize
    if offset % ALIGNMENT:
        source.fail(f"offset {offset} is not a multiple of {ALIGNMENT}")
    if len(shape) > 4 or prod(size or 1 for size in shape) > MAX_ELEMENTS or end > bin_bytes:
        source.fail(f"{list(shape)} {name} at {offset} do not lie within the {bin_bytes} bytes of {TENSORS}")
    if mapping is None or count == 0:
        return np.zeros(shape, DTYPES[name]), (offset, offset)
    return np.ndarray(shape, DTYPES[name], mapping, offset), (offset, end)


def _map(path: Path, nbytes: int) -> mmap.mmap | None:
    """The file, mapped for reading; None if it is rightly empty."""
    try:
        with path.open("rb") as file:
            actual = file.seek(0, 2)
            if actual != nbytes:
                raise DamagedError(f"{path}: {actual} bytes, {DESCRIPTION} says {nbytes}; export the artifact again")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if nbytes else None
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read ({error.strerror or error}); export the artifact again") from None
