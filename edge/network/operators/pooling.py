"""Pooling: one number for each window of a channel, or for the whole of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge.network.operators.fields import PADDING, STEPS, Flag, holds
from edge.network.operators.operator import Operator
from edge.network.operators.shapes import Padding, Pair, Shape, ShapeError, image, windows


@dataclass(frozen=True)
class Pool(Operator):
    """What both kinds of pooling have in common."""

    kernel: Pair = field(metadata=holds(STEPS))
    stride: Pair = field(metadata=holds(STEPS))
    padding: Padding = field(metadata=holds(PADDING))
    ceil_mode: bool = field(metadata=holds(Flag()))

    @property
    def spacing(self) -> Pair:
        """Steps between the cells of a window."""
        return 1, 1

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """`(c, h, w)`."""
        channels, height, width = image(inputs[0])
        dilation = self.spacing
        sizes = windows((height, width), self.kernel, self.stride, self.padding, dilation, self.ceil_mode)
        for axis, size in enumerate((height, width)):
            # Every window must hold a real cell: it starts inside the image, or its cells reach into it, and in
            # dilated windows no gap between two cells is wider than the image.
            reach = (self.kernel[axis] - 1) * dilation[axis]
            before = self.padding[axis]
            last = (sizes[axis] - 1) * self.stride[axis] - before
            if before > reach or last >= size or (before and size < dilation[axis]):
                raise ShapeError("padding leaves a pooling window without a cell of the image")
        return (channels, *sizes)

    @property
    def gradient_reads(self) -> None:
        """Nothing."""
        return None


@dataclass(frozen=True)
class MaxPool(Pool):
    """The largest of each window; padding never wins."""

    op = "max_pool"
    gradient_keeps_places = True
    dilation: Pair = field(metadata=holds(STEPS))

    @property
    def spacing(self) -> Pair:
        """The dilation."""
        return self.dilation


@dataclass(frozen=True)
class AvgPool(Pool):
    """The mean of each window. Cells that only ceil_mode added never count; padding counts if it is included."""

    op = "avg_pool"
    count_include_pad: bool = field(metadata=holds(Flag()))


@dataclass(frozen=True)
class GlobalAvgPool(Operator):
    """The mean of each channel, `(c, 1, 1)`."""

    op = "global_avg_pool"

    def output_shape(self, *inputs: Shape, **parameters: Shape) -> Shape:
        """`(c, 1, 1)`."""
        return (image(inputs[0])[0], 1, 1)

    @property
    def gradient_reads(self) -> None:
        """Nothing."""
        return None
