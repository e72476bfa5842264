"""Parameters as engines hold them become parameters of the native network again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edge.engines.ort.spans import stored_spans
from edge.network import Network
from edge.weight.formats.format import index_dtype
from edge.weight.parameter import Parameter
from mest.errors import DamagedError

ROLES = ("row_starts", "columns", "kernels", "patterns", "mask", "channels")


def rebuilt(parameter: Parameter, parts: Mapping[str, np.ndarray]) -> Parameter:
    """A parameter with new tensors: `parts` has its values and, for a sparse one, where they belong, by role.

    Columns are absolute or lie in spans of a row, values may be flat, and entries after the last row's end are free
    slots that are left out.
    Raises DamagedError where the parts do not fit the parameter.
    """
    try:
        return _rebuilt(parameter, parts)
    except (KeyError, ValueError, IndexError) as wrong:
        raise DamagedError(f"{parameter.name}: its stored parts do not fit the network ({wrong})") from wrong


def _rebuilt(parameter: Parameter, parts: Mapping[str, np.ndarray]) -> Parameter:
    values = np.asarray(parts["values"])
    if "row_starts" not in parts:
        shape = parameter.values.shape
        if "channels" in parts and parameter.format == "channel":
            channels = np.asarray(parts["channels"])
            shape = (parameter.rows, len(channels), *parameter.shape[2:])
            tensors = {
                "channels": channels.astype(parameter.tensors["channels"].dtype),
                "values": values.reshape(shape),
            }
        else:
            tensors = {**parameter.tensors, "values": values.reshape(shape)}
            if "mask" in parts:
                tensors["mask"] = np.packbits(np.asarray(parts["mask"]).astype(bool).reshape(-1), bitorder="little")
        return replace(parameter, tensors=tensors)
    row_starts = np.asarray(parts["row_starts"]).astype(np.uint32)
    used = int(row_starts[-1])
    tail = () if parameter.format in ("csr", "masked") else parameter.values.shape[1:]
    tensors = {"row_starts": row_starts, "values": np.ascontiguousarray(values.reshape(-1, *tail)[:used])}
    if "columns" in parts:
        spans = stored_spans(parameter, len(row_starts))
        ends = row_starts.astype(np.intp)
        span = np.repeat(np.arange(len(row_starts) - 1) % spans, ends[1:] - ends[:-1])
        columns = np.asarray(parts["columns"])[:used] + span * (parameter.columns // spans)
        parts = {**parts, "columns": columns}
        tensors["row_starts"] = row_starts[::spans]
    for role in ("columns", "kernels", "patterns"):
        if role in parts:
            array = np.asarray(parts[role])[:used]
            tensors[role] = array.astype(np.uint8 if role == "patterns" else index_dtype(int(array.max(initial=0))))
    if parameter.format == "masked":
        return replace(parameter, format="csr", coding="absolute", tensors=tensors)
    return replace(parameter, tensors=tensors, coding="absolute" if parameter.format == "csr" else parameter.coding)


def from_native(network: Network, snapshot: Mapping[str, np.ndarray]) -> dict[str, Parameter]:
    """The parameters in a snapshot of the native engine, whose arrays are named `PARAMETER/part`.

    Raises DamagedError where the snapshot lacks one of them, or a part of one.
    """
    found, constants = {}, network.constants()
    for name, parameter in network.parameters.items():
        if name in constants:
            found[name] = parameter
            continue
        roles = {"row_starts", "columns"} if parameter.format == "masked" else {*parameter.tensors} - {"values"}
        written = {role: f"{name}/{role}" for role in ("values", *sorted(roles))}
        found[name] = _parameter(parameter, written, snapshot)
    return found


def from_ort(
    network: Network, written: Mapping[str, Mapping[str, Any]], snapshot: Mapping[str, np.ndarray]
) -> dict[str, Parameter]:
    """The parameters in a snapshot of onnxruntime-training; `written` is the manifest's `ort.parameters`.

    Raises DamagedError where the snapshot lacks one of them, or a part of one.
    """
    found, constants = {}, network.constants()
    for name, parameter in network.parameters.items():
        if name in constants:
            found[name] = parameter
            continue
        names = written.get(name, {"values": name})
        roles = [role for role in ("values", *ROLES) if names.get(role)]
        found[name] = _parameter(parameter, {role: names[role] for role in roles}, snapshot)
    return found


def _parameter(parameter: Parameter, written: Mapping[str, str], snapshot: Mapping[str, np.ndarray]) -> Parameter:
    """The parameter from its parts, whose names in the snapshot are `written`."""
    lacking = next((name for name in written.values() if name not in snapshot), None)
    if lacking is not None:
        raise DamagedError(f"{parameter.name}: the state holds no {lacking}; it is not whole, train and save it again")
    return rebuilt(parameter, {role: snapshot[name] for role, name in written.items()})
