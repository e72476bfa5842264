"""Gives the planned steps their places: specs become the tables of numbers that one call of the library runs."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from edge.engines.native.listing import Listing
from edge.engines.native.model import Model
from edge.engines.native.operands import Operands
from edge.engines.native.places import Places
from edge.engines.native.rows import Row
from edge.engines.native.steps import Spec
from edge.engines.native.weights import Tensor
from edge.libmest import program as structs
from edge.libmest import vocabulary

Made = TypeVar("Made", bound=ctypes.Structure)


class Lowered:
    """A program ready to run, and all that it names."""

    def __init__(
        self,
        model: Model,
        listing: Listing,
        tensors: Mapping[str, Tensor],
        gradients: np.ndarray,
        update: structs.Update,
        params: Sequence[Tensor],
        arena: np.ndarray,
        offsets: Sequence[int],
    ) -> None:
        """`offsets` are those of the listing's slots in the arena; `params` the tensors that `update` trains."""
        self.names = tuple(spec.name for spec in listing.specs)
        self.operators = tuple(spec.op for spec in listing.specs)
        self.start, self.body, self.end = listing.start, listing.body, len(listing.specs)
        self._tensors = tensors
        self._gradients = gradients
        operands = Operands(listing.slots, offsets)
        self._places = Places(model, tensors, operands, update, listing.groups * listing.samples)
        self._rows: dict[str, list[Row]] = {name: [] for name in structs.TABLES}
        self._made: dict[str, list[Any]] = {name: [] for name in structs.TABLES}
        self._trained = tuple(params)
        steps = [self._step(spec) for spec in listing.specs]
        trained = [self._param(tensor) for tensor in params]
        channels, height, width = model.network.input
        self.program = structs.Program(
            arena=arena.ctypes.data,
            arena_bytes=arena.size,
            count=len(steps),
            groups=listing.groups,
            samples=listing.samples,
            in_channels=channels,
            in_h=height,
            in_w=width,
        )
        self.tables: dict[str, Any] = {}
        self._table("steps", structs.Step, steps)
        self._table("operand", structs.Operand, operands.made())
        for name, kind in structs.TABLES.items():
            self._table(name, kind, self._made[name])
        self._table("param", structs.Param, trained)
        self._held = operands.held
        del self._places, self._made, self._gradients  # the tables hold it all
        self.refresh()

    def refresh(self) -> None:
        """Take over the numbers of non-zeros after a mutation."""
        for name, rows in self._rows.items():
            for made, row in zip(self.tables[name], rows, strict=True):
                row.refresh(made, self._tensors)
        for param, tensor in zip(self.tables["param"], self._trained, strict=True):
            param.count = tensor.count

    def _table(self, name: str, kind: type[Made], rows: Sequence[Made]) -> None:
        """Hold a table of the program, and tell the program where it lies and how many rows it has."""
        # From bytes: an array that is made of its rows would hold them as well.
        table = self.tables[name] = (kind * len(rows)).from_buffer_copy(b"".join(map(bytes, rows)))
        setattr(self.program, name if name == "steps" else f"{name}s", ctypes.addressof(table))
        if name != "steps":
            setattr(self.program, f"{name}_count", len(rows))

    def _step(self, spec: Spec) -> structs.Step:
        places, at = self._places, self._places.operands.slot
        step = structs.Step(op=vocabulary.OPS.index(spec.op))
        for name, number in spec.numbers.items():
            setattr(step, name, number)
        if spec.a:
            step.a = places.view(spec.a)
        if spec.b:
            step.b = places.view(spec.b)
        if spec.g:
            step.g = places.grad(spec.g)
        if spec.sums:
            step.sums = places.grad(spec.sums)
        step.out = at(spec.out)
        step.scratch = at(spec.scratch)
        step.scratch_floats = spec.scratch_floats
        step.partial_grads = at(spec.partial_grads)
        if spec.channels is not None:
            step.channel_list = places.channels(spec.channels)
        if spec.all_gradients:
            step.out, step.out_count = places.operands.array(self._gradients), self._gradients.size
        for name, row in spec.entries():
            setattr(step, name, self._number(row))
        return step

    def _number(self, row: Row) -> int:
        """The number of a new row of its table; they count from 1."""
        made = row.made(self._places)
        table = structs.table_of(made)
        self._rows[table].append(row)
        self._made[table].append(made)
        return len(self._made[table])

    def _param(self, tensor: Tensor) -> structs.Param:
        array = self._places.operands.array
        states = [array(state) for state in tensor.state] + [0, 0]
        return structs.Param(array(tensor.values), array(tensor.gradient), states[0], states[1], tensor.count)
