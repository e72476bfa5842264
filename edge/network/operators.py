"""The operators of the native network: what each is, which shape it writes, which parameters it reads."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import prod
from types import MappingProxyType
from typing import ClassVar

Pair = tuple[int, int]  # height, width
Padding = tuple[int, int, int, int]  # top, left, bottom, right
Shape = tuple[int, ...]  # without the batch

# Fields that hold the name of a parameter, in the order in which a layer lists them.
PARAMETER_FIELDS = ("weight", "bias", "scale", "shift", "mean", "variance", "channels")


class ShapeError(ValueError):
    """An operator cannot take the shapes it is given."""


@dataclass(frozen=True)
class Operator:
    """One step of the network. It writes one value, known by the operator's own name, of `shape` per sample."""

    op: ClassVar[str]
    arity: ClassVar[int] = 1

    name: str
    inputs: tuple[str, ...]
    shape: Shape

    def output_shape(self, *inputs: Shape, weight: Shape = ()) -> Shape:
        """The shape that follows from the inputs (and the weight's dense shape); raises ShapeError."""
        return inputs[0]

    def parameters(self) -> dict[str, str]:
        """Parameter names by role: weight, bias, scale, shift, mean, variance, channels."""
        present = {field.name for field in fields(self)}
        named = {role: getattr(self, role) for role in PARAMETER_FIELDS if role in present}
        return {role: name for role, name in named.items() if name is not None}


@dataclass(frozen=True)
class Conv(Operator):
    """Cross-correlation as in PyTorch; weight `(out, in/groups, kh, kw)`."""

    op = "conv"
    weight: str
    bias: str | None
    stride: Pair
    padding: Padding
    dilation: Pair
    groups: int

    def output_shape(self, *inputs: Shape, weight: Shape = ()) -> Shape:
        """`(out, h, w)`."""
        channels, height, width = _image(inputs[0])
        if len(weight) != 4:
            raise ShapeError(f"a convolution needs a weight (out, in/groups, kh, kw), not {list(weight)}")
        out, per_group = weight[:2]
        if channels != per_group * self.groups or out % self.groups:
            raise ShapeError(f"weight {list(weight)} in {self.groups} groups does not fit {channels} input channels")
        return (out, *_windows((height, width), weight[2:], self.stride, self.padding, self.dilation))


@dataclass(frozen=True)
class Linear(Operator):
    """x · Wᵀ + b; weight `(out, in)`."""

    op = "linear"
    weight: str
    bias: str | None

    def output_shape(self, *inputs: Shape, weight: Shape = ()) -> Shape:
        """`(out,)`."""
        if len(weight) != 2 or inputs[0] != weight[1:]:
            raise ShapeError(f"weight {list(weight)} does not fit an input of shape {list(inputs[0])}")
        return weight[:1]


@dataclass(frozen=True)
class BatchNorm(Operator):
    """Normalisation per channel. In training the running statistics move: running ← (1−m)·running + m·batch,
    with the unbiased variance, as in PyTorch."""

    op = "batch_norm"
    scale: str
    shift: str
    mean: str
    variance: str
    epsilon: float
    momentum: float


@dataclass(frozen=True)
class Relu(Operator):
    """max(x, 0)."""

    op = "relu"


@dataclass(frozen=True)
class Relu6(Operator):
    """min(max(x, 0), 6)."""

    op = "relu6"


@dataclass(frozen=True)
class Add(Operator):
    """The sum of two values of equal shape."""

    op = "add"
    arity = 2

    def output_shape(self, *inputs: Shape, weight: Shape = ()) -> Shape:
        """The shape of both inputs."""
        if inputs[0] != inputs[1]:
            raise ShapeError(f"cannot add shapes {list(inputs[0])} and {list(inputs[1])}")
        return inputs[0]


@dataclass(frozen=True)
class Pool(Operator):
    """What both kinds of pooling have in common."""

    kernel: Pair
    stride: Pair
    padding: Padding
    ceil_mode: bool

    def output_shape(self, *inputs: Shape, weight: Shape = ()) -> Shape:
        """`(c, h, w)`."""
        channels, height, width = _image(inputs[0])
        dilation: Pair = getattr(self, "dilation", (1, 1))
        sizes = _windows((height, width), self.kernel, self.stride, self.padding, dilation, self.ceil_mode)
        for axis, size in enumerate((height, width)):
            # Every window must hold a real cell: it starts inside the image, or its cells reach into it, and in
            # dilated windows no gap between two cells is wider than the image.
            reach = (self.kernel[axis] - 1) * dilation[axis]
            before = self.padding[axis]
            last = (sizes[axis] - 1) * self.stride[axis] - before
            if before > reach or last >= size or (before and size < dilation[axis]):
                raise ShapeError("padding leaves a pooling window without a cell of the image")
        return (channels, *sizes)


@dataclass(frozen=True)
class MaxPool(Pool):
    """The largest of each window; padding never wins."""

    op = "max_pool"
    dilation: Pair


@dataclass(frozen=True)
class AvgPool(Pool):
    """The mean of each window. Cells that only ceil_mode added never count; padding counts if it is included."""

    op = "avg_pool"
    count_include_pad: bool


@dataclass(frozen=True)
class GlobalAvgPool(Operator):
    """The mean of each channel, `(c, 1, 1)`."""

    op = "global_avg_pool"

    def output_shape(self, *inputs: Shape, weight: Shape = ()) -> Shape:
        """`(c, 1, 1)`."""
        return (_image(inputs[0])[0], 1, 1)


@dataclass(frozen=True)
class Flatten(Operator):
    """All of a sample in one row, `(c·h·w,)`."""

    op = "flatten"

    def output_shape(self, *inputs: Shape, weight: Shape = ()) -> Shape:
        """`(c·h·w,)`."""
        return (prod(inputs[0]),)


@dataclass(frozen=True)
class Select(Operator):
    """The listed channels, in that order; `channels` names an int32 parameter `(kept,)`."""

    op = "select"
    channels: str

    def output_shape(self, *inputs: Shape, weight: Shape = ()) -> Shape:
        """`(kept, ...)`; `weight` is the shape of the channel list."""
        if len(weight) != 1:
            raise ShapeError(f"a channel list has one dimension, not {list(weight)}")
        return (weight[0], *inputs[0][1:])


@dataclass(frozen=True)
class Foreign(Operator):
    """An operator that only onnxruntime computes, known by its place, its size and what it reads.

    A network that has one is no program for the engines of our own; planning, mutation and the way back need no more.
    `kind` is ONNX's name, `module` the path of the module that it came from (None: the model itself), `weight` the
    matrix or kernel of a layer, `reads` every other parameter.
    """

    op = "foreign"
    arity = 0  # any number of inputs but none
    kind: str
    module: str | None
    weight: str | None
    reads: tuple[str, ...]

    def output_shape(self, *inputs: Shape, weight: Shape = ()) -> Shape:
        """The stated shape: nothing here knows what the operator computes."""
        return self.shape

    def parameters(self) -> dict[str, str]:
        """Parameter names: `weight`, and the others numbered."""
        return super().parameters() | {f"reads {number}": name for number, name in enumerate(self.reads)}


OPERATORS: MappingProxyType[str, type[Operator]] = MappingProxyType(
    {
        kind.op: kind
        for kind in (
            Conv,
            Linear,
            BatchNorm,
            Relu,
            Relu6,
            Add,
            MaxPool,
            AvgPool,
            GlobalAvgPool,
            Flatten,
            Select,
            Foreign,
        )
    }
)


def _image(shape: Shape) -> tuple[int, int, int]:
    """Channels, height and width; raises ShapeError for anything that is not an image."""
    if len(shape) != 3:
        raise ShapeError(f"expected an input (channels, height, width), not {list(shape)}")
    return shape[0], shape[1], shape[2]


def _windows(
    size: Pair, kernel: Shape, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool = False
) -> tuple[int, int]:
    """Number of windows per axis, by PyTorch's rule; raises ShapeError if not one fits."""
    counts = []
    for axis in (0, 1):
        before, after = padding[axis], padding[axis + 2]
        room = size[axis] + before + after - dilation[axis] * (kernel[axis] - 1) - 1
        if room < 0:
            raise ShapeError(f"a kernel of {list(kernel)} with dilation {list(dilation)} does not fit {list(size)}")
        count = room // stride[axis] + 1
        if ceil_mode:
            count = -(-room // stride[axis]) + 1
            # The last window must start inside the image or the padding before it.
            if (count - 1) * stride[axis] >= size[axis] + before:
                count -= 1
        counts.append(count)
    return counts[0], counts[1]
