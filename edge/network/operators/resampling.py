"""Images of another size: padded, cut, made larger or smaller. Rows and columns by themselves, each channel alike.

Coordinates and rounding have ONNX's names (Resize, version 18); nearest ones are computed in float32, as PyTorch does.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from edge.network.operators.fields import MAX_DIMENSION, STEPS, Choice, Integers, Numbers, holds
from edge.network.operators.operator import Operator
from edge.network.operators.shapes import Padding, Pair, Shape, ShapeError, image
from edge.network.operators.taps import Taps

FILLS = ("zeros", "reflect", "replicate")
COORDINATES = ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")
ROUNDINGS = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")

Axis = Literal[0, 1]  # rows, columns


@dataclass(frozen=True)
class Resample(Operator):
    """What pads and resizes have in common: y = R · x · Cᵀ for each channel, with R and C given by their `taps`."""

    @abstractmethod
    def taps(self, axis: Axis, size: int) -> Taps:
        """How the new positions along an axis are made of `size` old ones."""

    @property
    def gradient_reads(self) -> None:
        """Nothing."""
        return None


@dataclass(frozen=True)
class Pad(Resample):
    """More rows and columns on each side, or with negative numbers fewer; `fill` says what the new ones hold."""

    op = "pad"
    padding: Padding = field(metadata=holds(Integers(-MAX_DIMENSION, 4)))
    fill: str = field(metadata=holds(Choice(FILLS)))

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """`(c, h + top + bottom, w + left + right)`."""
        channels, *sizes = image(inputs[0])
        found = [size + self.padding[axis] + self.padding[axis + 2] for axis, size in enumerate(sizes)]
        if min(found) < 1:
            raise ShapeError(f"padding {list(self.padding)} leaves nothing of {sizes}")
        if self.fill != "zeros" and min(self.padding) < 0:
            raise ShapeError(f"padding {list(self.padding)}: only that with zeros may take rows or columns away")
        for axis, size in enumerate(sizes):
            if self.fill == "reflect" and max(self.padding[axis], self.padding[axis + 2]) >= size:
                raise ShapeError(f"padding {list(self.padding)} has more to reflect than there is in {sizes}")
        return (channels, *found)

    def taps(self, axis: Axis, size: int) -> Taps:
        """The old position itself, and around them what `fill` says."""
        place = np.arange(size + self.padding[axis] + self.padding[axis + 2]) - self.padding[axis]
        inside = np.clip(place, 0, size - 1)
        if self.fill == "reflect":
            inside = size - 1 - np.abs(size - 1 - np.abs(place))
        weights = (place == inside) if self.fill == "zeros" else np.ones(place.size)
        return Taps.of(size, inside[:, None], weights[:, None])


@dataclass(frozen=True)
class Resize(Resample):
    """`size` rows and columns, read at places that follow from `coordinates`.

    `scale`: new size over old one by axis, where coordinates go by another than the sizes say.
    """

    size: Pair = field(metadata=holds(STEPS))
    coordinates: str = field(metadata=holds(Choice(COORDINATES)))
    scale: tuple[float, float] | None = field(metadata=holds(Numbers(1e-6, 1e6, 2)))

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """`(c, h, w)` with the new height and width."""
        return (image(inputs[0])[0], *self.size)

    def step(self, axis: Axis, size: int) -> float:
        """Old positions from one new one to the next, but where corners are aligned."""
        return 1 / self.scale[axis] if self.scale is not None else size / self.size[axis]

    def places(self, axis: Axis, size: int, dtype: type[np.floating]) -> np.ndarray:
        """Where among the old positions, counted from 0, each new one lies: `(new,)`."""
        count = self.size[axis]
        new, half = np.arange(count, dtype=dtype), dtype(0.5)
        if self.coordinates == "align_corners":
            return new * dtype((size - 1) / max(1, count - 1))
        step = dtype(self.step(axis, size))
        if self.coordinates == "asymmetric" or (self.coordinates == "pytorch_half_pixel" and count == 1):
            return new * step
        return (new + half) * step - half


@dataclass(frozen=True)
class ResizeNearest(Resize):
    """The position next to the place, by `rounding`."""

    op = "resize_nearest"
    rounding: str = field(metadata=holds(Choice(ROUNDINGS)))

    def taps(self, axis: Axis, size: int) -> Taps:
        """One position each."""
        places, half = self.places(axis, size, np.float32), np.float32(0.5)
        rounded = {
            "floor": np.floor(places),
            "ceil": np.ceil(places),
            "round_prefer_floor": np.ceil(places - half),
            "round_prefer_ceil": np.floor(places + half),
        }[self.rounding]
        sources = np.clip(rounded, 0, size - 1).astype(np.int64)
        return Taps.of(size, sources[:, None], np.ones((sources.size, 1)))


@dataclass(frozen=True)
class ResizeLinear(Resize):
    """Between the two positions around the place (bilinear), at the edge the last one."""

    op = "resize_linear"

    def taps(self, axis: Axis, size: int) -> Taps:
        """Two positions each, or one."""
        places = np.clip(self.places(axis, size, np.float64), 0, size - 1)
        first = np.floor(places).astype(np.int64)
        second, share = np.minimum(first + 1, size - 1), places - first
        share[first == second] = 0
        return Taps.of(size, np.stack([first, second], 1), np.stack([1 - share, share], 1))
