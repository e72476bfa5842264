"""What a weight will hold in the engine: sizes only, known before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass

from edge.engines.native.geometry import Window
from edge.errors import InputError
from edge.libmest.vocabulary import BLOCK, CSR, DENSE, ROW_BYTES, UNIT_BYTES
from edge.plan.choices import Choices
from edge.plan.footprint import Item, Kind
from edge.spelling import named
from edge.weight.parameter import Parameter
from edge.weight.units import kept_units, unit_weights

_KINDS = {"dense": DENSE, "channel": DENSE, "csr": CSR, "pattern": CSR, "masked": CSR, "block": BLOCK}


@dataclass(frozen=True, slots=True)
class WeightLayout:
    """Sizes of one weight. `capacity` counts values, `entries` non-zeros or blocks, both at their most.

    A masked weight is held as csr, a pattern's kept cells too; a channel weight is a dense one of fewer channels.
    """

    parameter: Parameter
    window: Window
    kind: int
    height: int
    read: int  # input channels that the layer reads, at the most
    capacity: int
    index_bytes: int
    trained: bool
    needs_input_grad: bool

    @property
    def entries(self) -> int:
        """Non-zeros or blocks, at their most; 0 for a dense weight."""
        return 0 if self.kind == DENSE else self.capacity // self.height

    @property
    def parities(self) -> int:
        """Phases of the stride."""
        return self.window.stride[0] * self.window.stride[1]

    @property
    def mutation_bytes(self) -> int:
        """Bytes that the library needs beside the weight while it mutates."""
        rows = self.parameter.rows if self.parameter.format == "pattern" else 0
        return UNIT_BYTES * (self.capacity // unit_weights(self.parameter)) + ROW_BYTES * rows

    def index_items(self) -> dict[str, int]:
        """Bytes of the index arrays, by name."""
        sizes: dict[str, int] = {}
        if self.kind != DENSE:
            sizes["starts"] = 4 * (self.parameter.rows // self.height + 1)
            sizes["columns"] = self.index_bytes * self.entries
            if self.needs_input_grad:
                sizes["t_starts"] = 4 * (self.parities * self.window.input[0] + 1)
                sizes["t_columns"] = self.index_bytes * self.entries
                sizes["t_places"] = 4 * self.entries
        if self.parameter.format == "channel":
            sizes["channels"] = 4 * self.read
        if self.parameter.format == "pattern":
            sizes["kernels"] = self.index_bytes * (self.capacity // 4)
            sizes["patterns"] = self.capacity // 4
        return sizes


def weight_layout(
    parameter: Parameter, window: Window, choices: Choices, trained: bool, needs_input_grad: bool
) -> WeightLayout:
    """Sizes of a layer's weight with room for the densest phase of mutation."""
    kind = _KINDS[parameter.format]
    height = parameter.height or 1 if kind == BLOCK else 1
    group_rows = parameter.rows // window.groups
    if group_rows % height:
        raise InputError(
            f"{parameter.name}: blocks of {height} rows reach over a group of {group_rows} output channels; "
            f"export this layer with {named('format')} csr"
        )
    read, capacity = window.input[0], parameter.nonzeros
    densest = choices.densest_sparsity.get(parameter.name)
    if densest is not None and parameter.sparse:
        capacity = max(capacity, kept_units(parameter, densest) * unit_weights(parameter))
    if parameter.format == "channel":
        read = capacity * parameter.shape[1] // parameter.size
    largest = max(parameter.columns, group_rows * window.taps)
    return WeightLayout(
        parameter, window, kind, height, read, capacity, 2 if largest <= 1 << 16 else 4, trained, needs_input_grad
    )


def state_items(name: str, values: int, trained: bool, choices: Choices) -> list[Item]:
    """Bytes of a parameter's values, and where it is trained of its gradient and optimizer state."""
    sizes: list[tuple[Kind, int]] = [("weights", 1)]
    if trained:
        sizes += [("gradients", 1), ("optimizer", choices.optimizer.state_per_weight)]
    return [Item(kind, name, padded(4 * values * copies)) for kind, copies in sizes if copies]


def padded(nbytes: int) -> int:
    """The next multiple of 64."""
    return nbytes + -nbytes % 64
