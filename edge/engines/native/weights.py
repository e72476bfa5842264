"""A weight in the engine: values, gradient and optimizer state for non-zeros only, and two index lists."""

from __future__ import annotations

from collections.abc import Mapping
from ctypes import byref
from dataclasses import replace
from math import prod

import numpy as np

from edge.engines.native.layout import WeightLayout, padded
from edge.errors import DamagedError
from edge.files.arrays import Extent
from edge.libmest import program as structs
from edge.libmest.library import load_library
from edge.libmest.vocabulary import BLOCK, CSR, DENSE, DONE, FORMS
from edge.plan.choices import OptimizerChoice
from edge.weight.formats import positions
from edge.weight.formats.csr import absolute_columns
from edge.weight.formats.pattern import PATTERNS
from edge.weight.parameter import Parameter


def aligned(count: int, dtype: type | np.dtype) -> np.ndarray:
    """Zeros `(count,)` that start at a multiple of 64 bytes."""
    nbytes = padded(count * np.dtype(dtype).itemsize)
    raw = np.zeros(nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + count * np.dtype(dtype).itemsize].view(dtype)


class Tensor:
    """Values of a parameter with, where it is trained, gradient and optimizer state; `count` of them are in use.

    An empty `gradient` says that the parameter is not trained.
    """

    def __init__(self, name: str, values: np.ndarray, capacity: int, gradient: np.ndarray, optimizer: OptimizerChoice):
        self.name = name
        self.trained = gradient.size > 0
        self.count = values.size
        self.values = aligned(capacity, np.float32)
        self.values[: values.size] = values.reshape(-1)
        self.gradient = gradient
        states = optimizer.state_per_weight if self.trained else 0
        self.state = tuple(aligned(capacity, np.float32) for _ in range(states))

    def arrays(self) -> dict[str, np.ndarray]:
        """The parts in use by the name that a snapshot gives them."""
        found = {"values": self.values[: self.count]}
        if self.trained:
            found["gradient"] = self.gradient[: self.count]
        return found | {f"state{number}": array[: self.count] for number, array in enumerate(self.state)}


class Weight(Tensor):
    """A convolution's or linear layer's weight with the lists that the kernels walk.

    `starts`, `columns`: entries by output row. `t_starts`, `t_columns`, `t_places`: the same entries by stride parity
    and input channel, for the input gradient; `t_places` is where an entry's first value lies.
    """

    def __init__(self, layout: WeightLayout, gradient: np.ndarray, optimizer: OptimizerChoice) -> None:
        parameter = layout.parameter
        values = parameter.values
        if parameter.format == "masked":
            values = values.reshape(-1)[positions(parameter)]
        super().__init__(parameter.name, values, layout.capacity, gradient, optimizer)
        self.layout = layout
        index = np.uint16 if layout.index_bytes == 2 else np.uint32
        kinds = {"columns": index, "t_columns": index, "kernels": index, "patterns": np.uint8, "channels": np.int32}
        sizes = layout.index_items()
        self.indices = {
            name: aligned(nbytes // np.dtype(kinds.get(name, np.uint32)).itemsize, kinds.get(name, np.uint32))
            for name, nbytes in sizes.items()
        }
        self.load_indices(_row_lists(parameter))

    @property
    def entries(self) -> int:
        """Non-zeros, or blocks."""
        return 0 if self.layout.kind == DENSE else self.count // self.layout.height

    def load_indices(self, lists: Mapping[str, np.ndarray]) -> None:
        """Take over lists as `own_indices` gives them, that fit `count` values, and derive the lists by column."""
        for name, array in lists.items():
            if name == "row_starts":
                self.indices["starts"][:] = array.astype(np.uint32) * np.uint32(self._values_per_row_entry)
            else:
                self.indices[name][: array.size] = array
        self._derive()

    def _derive(self) -> None:
        """The cells of patterns, and the lists by input channel."""
        derived = "kernels" in self.indices or "t_starts" in self.indices
        if derived and load_library().mest_derive(byref(self.described())) != DONE:
            raise DamagedError(f"network: the index lists of {self.name} do not fit it; export the artifact again")

    @property
    def _values_per_row_entry(self) -> int:
        """Entries of the kernels' lists per entry that `row_starts` counts: a pattern keeps four cells."""
        return 4 if "kernels" in self.indices else 1

    def own_indices(self) -> dict[str, np.ndarray]:
        """The lists that say which weights exist, without what is derived from them."""
        if "kernels" in self.indices:
            kernels = self.count // 4
            return {
                "row_starts": self.indices["starts"] // 4,
                "kernels": self.indices["kernels"][:kernels],
                "patterns": self.indices["patterns"][:kernels],
            }
        if "channels" in self.indices:
            return {"channels": self.indices["channels"][: self.read]}
        if self.layout.kind == DENSE:
            return {}
        return {"row_starts": self.indices["starts"], "columns": self.indices["columns"][: self.entries]}

    @property
    def read(self) -> int:
        """Input channels that the layer reads now."""
        parameter = self.layout.parameter
        if parameter.format == "channel":
            return self.count // (parameter.rows * prod(parameter.shape[2:]))
        return self.layout.window.input[0]

    def described(self) -> structs.Weight:
        """The weight as the library changes it, whose arrays lie here."""
        layout, window = self.layout, self.layout.window
        found = structs.Weight(
            count=self.count,
            capacity=layout.capacity,
            form=FORMS.index(held_as(layout.parameter).format),
            index_bytes=layout.index_bytes,
            block_height=layout.height,
            rows=layout.parameter.rows,
            in_channels=window.input[0],
            groups=window.groups,
        )
        for name in ("kernel", "stride", "dilation"):
            down, across = getattr(window, name)
            setattr(found, f"{name}_h", down)
            setattr(found, f"{name}_w", across)
        for name, array in self.parts().items():
            setattr(found, name, array.ctypes.data)
        return found

    def parts(self) -> dict[str, np.ndarray]:
        """Every array with its free slots, by the names that the library has for them."""
        found = {"values": self.values, **dict(zip(("first", "second"), self.state, strict=False)), **self.indices}
        return found | ({"gradient": self.gradient} if self.trained else {})


def held_as(parameter: Parameter) -> Parameter:
    """The parameter in the format that the engine holds: a masked weight is held as csr."""
    return replace(parameter, format="csr", coding=None) if parameter.format == "masked" else parameter


def _row_lists(parameter: Parameter) -> dict[str, np.ndarray]:
    """The index lists of a stored parameter as `Weight.load_indices` takes them."""
    if parameter.format == "csr" and parameter.coding == "delta":
        return {"row_starts": parameter.tensors["row_starts"], "columns": absolute_columns(parameter)}
    if parameter.format == "masked":
        return _masked_lists(parameter)
    return {name: tensor for name, tensor in parameter.tensors.items() if name != "values"}


def _masked_lists(parameter: Parameter) -> dict[str, np.ndarray]:
    kept = positions(parameter)
    counts = np.bincount((kept // parameter.columns).astype(np.intp, copy=False), minlength=parameter.rows)
    return {"row_starts": np.concatenate([[0], np.cumsum(counts)]), "columns": kept % parameter.columns}


def check_lists(weight: Weight, lists: Mapping[str, Extent], row_starts: np.ndarray | None, count: int) -> None:
    """Raise DamagedError unless index lists of a snapshot describe `count` values of this weight."""
    parameter, layout = weight.layout.parameter, weight.layout
    if count > layout.capacity or count < 0:
        raise DamagedError(f"state: {parameter.name} has {count} weights, this plan holds {layout.capacity}; plan anew")
    own = weight.own_indices()
    if set(own) != set(lists):
        raise DamagedError(f"state: {parameter.name} has other index lists than format {parameter.format}")
    units = {CSR: 1, BLOCK: layout.height, DENSE: 1}[layout.kind] * (4 if parameter.format == "pattern" else 1)
    wanted = {"columns": count // units, "kernels": count // units, "patterns": count // units}
    bounds = {"columns": parameter.columns, "kernels": layout.window.input[0], "patterns": len(PATTERNS)}
    bounds["channels"] = layout.window.input[0]
    for name, found in lists.items():
        good = len(found.shape) == 1 and found.dtype.kind in "iu"
        if good and name == "row_starts":
            assert row_starts is not None
            rising = row_starts.astype(np.int64)
            good = rising.size == own[name].size and rising[0] == 0 and rising[-1] * units == count
            good = good and bool((np.diff(rising) >= 0).all())
        elif good:
            good = found.shape[0] == wanted.get(name, found.shape[0]) and found.low >= 0 and found.high < bounds[name]
        if not good:
            raise DamagedError(f"state: the {name} of {parameter.name} do not fit this network")
