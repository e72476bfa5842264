"""The arrays of an engine's tensors by the names that a state has for them, and how tensors take them back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge.engines.native.weights import Tensor, Weight, check_lists
from edge.errors import DamagedError
from edge.files.arrays import StoredTensors, extent

WEIGHTS = frozenset({"values"})
ALL = WEIGHTS | {"gradient", "state0", "state1"}


def arrays_of(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """`NAME/values`, `NAME/gradient`, `NAME/state0..` and the index lists of weights, as views of the living arrays."""
    return {
        f"{name}/{part}": array
        for name, tensor in tensors.items()
        for part, array in (tensor.arrays() | _own(tensor)).items()
    }


def check_weights(tensors: Mapping[str, Tensor], snapshot: Mapping[str, np.ndarray]) -> None:
    """Raise DamagedError where a snapshot lacks the values or an index list of a tensor."""
    for name, tensor in tensors.items():
        lacking = next((part for part in ("values", *_own(tensor)) if f"{name}/{part}" not in snapshot), None)
        if lacking is not None:
            raise DamagedError(f"state: holds no {name}/{lacking}, which this artifact needs")


def take(tensors: Mapping[str, Tensor], snapshot: Mapping[str, np.ndarray], parts: frozenset[str]) -> None:
    """Copy these parts and the index lists of every tensor, once all of them were found to fit; zero the others."""
    for name, tensor in tensors.items():
        _check(name, tensor, snapshot, parts)
    for name, tensor in tensors.items():
        tensor.count = extent(snapshot, f"{name}/values").shape[0]
        for part, array in tensor.arrays().items():
            if part in parts:
                _copy(snapshot, f"{name}/{part}", array)
            else:
                array[...] = 0
        if isinstance(tensor, Weight):
            own = tensor.own_indices()
            for part, array in own.items():
                if part != "row_starts":
                    _copy(snapshot, f"{name}/{part}", array)
            tensor.load_indices({part: snapshot[f"{name}/{part}"] for part in own if part == "row_starts"})


def _own(tensor: Tensor) -> dict[str, np.ndarray]:
    return tensor.own_indices() if isinstance(tensor, Weight) else {}


def _check(name: str, tensor: Tensor, snapshot: Mapping[str, np.ndarray], parts: frozenset[str]) -> None:
    count = (*extent(snapshot, f"{name}/values").shape, 0)[0]
    for part in tensor.arrays().keys() & parts:
        found = extent(snapshot, f"{name}/{part}")
        if found.dtype != np.float32 or found.shape != (count,):
            raise DamagedError(f"state: {name}/{part} is not {count} float32 numbers")
    if isinstance(tensor, Weight):
        own = tensor.own_indices()
        lists = {part: extent(snapshot, f"{name}/{part}", values=part != "row_starts") for part in own}
        check_lists(tensor, lists, snapshot[f"{name}/row_starts"] if "row_starts" in own else None, count)
    elif count != tensor.count:
        raise DamagedError(f"state: {name} has {count} entries, the network has {tensor.count}")


def _copy(snapshot: Mapping[str, np.ndarray], name: str, array: np.ndarray) -> None:
    """Fill an array from a snapshot; from one that lies on the disk without holding it twice.

    Index lists of another width, as programs that hold no engine write them, are read whole and converted.
    """
    if isinstance(snapshot, StoredTensors) and snapshot.form(name)[0] == array.dtype:
        snapshot.read_into(name, array)
    else:
        array[...] = snapshot[name]
