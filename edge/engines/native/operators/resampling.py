"""Padding and resizing: one step each way, the same with the tables of an axis turned around."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from edge.engines.native.forward import Forward
from edge.engines.native.gradients import Backward
from edge.engines.native.node import Image, Node
from edge.engines.native.operators.rule import Rule
from edge.engines.native.places import Places
from edge.engines.native.rows import NormSpec, Row
from edge.engines.native.slots import Slot
from edge.engines.native.steps import Spec
from edge.libmest import program as structs
from edge.network.operators.resampling import Resample
from edge.network.operators.taps import Taps


@dataclass(frozen=True, slots=True)
class ResampleRow(Row):
    """How rows and columns are made of those that are read."""

    rows: Taps
    columns: Taps

    @property
    def table_bytes(self) -> int:
        """Of both tables."""
        return sum(4 * (taps.starts.size + 2 * taps.sources.size) for taps in (self.rows, self.columns))

    def made(self, places: Places) -> structs.Resample:
        """The row of the table."""
        found = structs.Resample(height=self.rows.count, width=self.columns.count)
        for name, taps in {"row": self.rows, "column": self.columns}.items():
            arrays = {"starts": taps.starts, "sources": taps.sources, "weights": taps.weights.astype(np.float32)}
            for part, array in arrays.items():
                setattr(found, f"{name}_{part}", places.operands.array(array, writable=False))
            setattr(found, f"{name}_entries", taps.sources.size)
        return found


class Resampling(Rule):
    """Each plane by itself: first rows are added up, then columns of them."""

    pushes_in_place = True
    cheap = True

    def forward(self, forward: Forward, node: Node, out: Slot, label: str, norm: NormSpec | None) -> None:
        """One step, with a plane in scratch where it is read through something."""
        value, (rows, columns) = node.inputs[0], _taps(node)
        floats = _line(value.image, forward.samples)
        floats += 0 if value.node.plain else prod(value.image[1:]) * forward.samples
        forward.steps.emit(
            Spec(
                "resample",
                label,
                node,
                a=forward.value(value),
                out=out,
                rows={"resample": ResampleRow(rows, columns)},
                scratch=forward.scratch(f"{label} scratch", floats),
                scratch_floats=floats,
            )
        )

    def backward(self, backward: Backward, node: Node) -> None:
        """One step, if the input's gradient is wanted."""
        value, (rows, columns) = node.inputs[0], _taps(node)
        if not backward.wanted(value):
            return
        gradient = backward.grad_in_place(node)
        out, accumulate = backward.target(value)
        floats = _line(node.image, backward.forward.samples)
        backward.steps.emit(
            Spec(
                "resample_grad",
                f"{node.name} gradient",
                node,
                g=gradient,
                out=out,
                rows={"resample": ResampleRow(rows.transposed(), columns.transposed())},
                scratch=backward.forward.scratch(f"{node.name} gradient scratch", floats),
                scratch_floats=floats,
                numbers={"accumulate": accumulate},
            )
        )


def _line(image: Image, samples: int) -> int:
    """Floats of a row that others are added up to."""
    return image[2] * samples


def _taps(node: Node) -> tuple[Taps, Taps]:
    assert isinstance(node.operator, Resample)
    _, height, width = node.inputs[0].image
    return node.operator.taps(0, height), node.operator.taps(1, width)
