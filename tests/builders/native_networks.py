"""Networks for the native engine's tests: built by hand, with weights in any format."""

from __future__ import annotations

from math import prod

import numpy as np
from activation_numbers import numbers_of

from edge.network import Network, Operator
from edge.network.operators import (
    Add,
    Arithmetic,
    AvgPool,
    BatchNorm,
    Conv,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Relu,
    Relu6,
    Select,
)
from edge.network.operators.activation_functions import Gelu
from edge.network.operators.arrangement import Reshape, Transpose
from edge.network.operators.attention import Attention
from edge.network.operators.concatenation import Concat
from edge.network.operators.convolution import ConvTranspose
from edge.network.operators.products import MatMul, Softmax
from edge.network.operators.resampling import Pad, ResizeLinear, ResizeNearest
from edge.network.operators.sample_norm import GroupNorm, LayerNorm
from edge.network.operators.tokens import Positions, Prepend, SelectPositions
from edge.tasks.registry import TASKS
from edge.weight.formats import PATTERNS, find_format
from edge.weight.parameter import Parameter

SCHEME_OF = {"csr": "irregular", "masked": "irregular", "block": "block", "pattern": "pattern", "channel": "channel"}


class Builder:
    """Writes a network operator by operator; every method returns the new value's name."""

    def __init__(self, image: tuple[int, int, int], classes: int, seed: int = 0, task: str = "classification") -> None:
        self.image, self.classes, self.task = image, classes, TASKS[task]
        self.random = np.random.default_rng(seed)
        self.operators: list[Operator] = []
        self.parameters: dict[str, Parameter] = {}
        self.shapes: dict[str, tuple[int, ...]] = {"input": image}

    def network(self) -> Network:
        """The network so far; the last operator writes the logits, or the answers of another task."""
        return Network(self.image, self.classes, tuple(self.operators), dict(self.parameters), task=self.task)

    def _add(self, kind: type[Operator], inputs: tuple[str, ...], **fields: object) -> str:
        name = f"{kind.op}{len(self.operators)}"
        draft = kind(name, inputs, (), **fields)
        parameters = draft.parameter_shapes(self.parameters)
        shape = draft.output_shape(*(self.shapes[value] for value in inputs), **parameters)
        self.operators.append(kind(name, inputs, shape, **fields))
        self.shapes[name] = shape
        return name

    def vector(self, name: str, values: np.ndarray, trainable: bool = True) -> str:
        """A dense parameter."""
        self.parameters[name] = Parameter(name, values.shape, {"values": values}, trainable=trainable)
        return name

    def weight(self, name: str, shape: tuple[int, ...], fmt: str, sparsity: float, height: int = 4) -> str:
        """A random weight in the given format."""
        values = self.random.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
        if fmt == "dense":
            self.parameters[name] = Parameter(name, shape, {"values": values})
            return name
        mask = random_mask(self.random, shape, SCHEME_OF[fmt], sparsity, height)
        scheme = SCHEME_OF[fmt]
        encoded = find_format(fmt).encode(np.where(mask, values, 0), mask, height if scheme == "block" else None)
        self.parameters[name] = Parameter(
            name,
            shape,
            encoded.tensors,
            fmt,
            True,
            scheme,
            encoded.height,
            sparsity,
            encoded.coding,
        )
        return name

    def conv(
        self,
        value: str,
        out: int,
        kernel: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int, int, int] = 1,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        fmt: str = "dense",
        sparsity: float = 0.8,
        height: int = 4,
        bias: bool = False,
    ) -> str:
        """A convolution with a random weight."""
        kernel, stride, dilation = (
            pair if isinstance(pair, tuple) else (pair, pair) for pair in (kernel, stride, dilation)
        )
        padding = padding if isinstance(padding, tuple) else (padding,) * 4
        number = len(self.operators)
        shape = (out, self.shapes[value][0] // groups, *kernel)
        weight = self.weight(f"w{number}", shape, fmt, sparsity, height)
        name = self.vector(f"b{number}", self.random.normal(size=out).astype(np.float32)) if bias else None
        return self._add(
            Conv, (value,), weight=weight, bias=name, stride=stride, padding=padding, dilation=dilation, groups=groups
        )

    def conv_transpose(
        self,
        value: str,
        out: int,
        kernel: tuple[int, int] = (2, 2),
        stride: tuple[int, int] = (2, 2),
        padding: tuple[int, int] = (0, 0),
        output_padding: tuple[int, int] = (0, 0),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
        fmt: str = "dense",
        sparsity: float = 0.6,
        height: int = 4,
        bias: bool = False,
    ) -> str:
        """A transposed convolution with a random weight."""
        number = len(self.operators)
        shape = (self.shapes[value][0], out // groups, *kernel)
        weight = self.weight(f"w{number}", shape, fmt, sparsity, height)
        name = self.vector(f"b{number}", self.random.normal(size=out).astype(np.float32)) if bias else None
        return self._add(
            ConvTranspose,
            (value,),
            weight=weight,
            bias=name,
            stride=stride,
            padding=padding * 2,
            output_padding=output_padding,
            dilation=dilation,
            groups=groups,
        )

    def linear(self, value: str, out: int, fmt: str = "dense", sparsity: float = 0.8, bias: bool = True) -> str:
        """A linear layer with a random weight."""
        number = len(self.operators)
        weight = self.weight(f"w{number}", (out, self.shapes[value][0]), fmt, sparsity)
        name = self.vector(f"b{number}", self.random.normal(size=out).astype(np.float32)) if bias else None
        return self._add(Linear, (value,), weight=weight, bias=name)

    def norm(self, value: str, frozen: bool = False) -> str:
        """Batch norm with random parameters and statistics."""
        number, channels = len(self.operators), self.shapes[value][0]
        random = self.random
        return self._add(
            BatchNorm,
            (value,),
            scale=self.vector(f"g{number}", random.uniform(0.5, 1.5, channels).astype(np.float32)),
            shift=self.vector(f"h{number}", random.normal(0, 0.3, channels).astype(np.float32)),
            mean=self.vector(f"m{number}", random.normal(0, 0.3, channels).astype(np.float32), False),
            variance=self.vector(f"v{number}", random.uniform(0.5, 1.5, channels).astype(np.float32), False),
            epsilon=1e-5,
            momentum=0.1,
            frozen=frozen,
        )

    def sample_norm(self, value: str, groups: int, roles: str = "both", per_cell: bool = False) -> str:
        """Group norm, or (groups 0) layer norm over channels; `roles`: both, scale, shift or none."""
        number, shape = len(self.operators), self.shapes[value]
        shape = shape if per_cell else shape[:1]
        scale = self.random.uniform(0.5, 1.5, shape).astype(np.float32)
        shift = self.random.normal(0, 0.3, shape).astype(np.float32)
        return self._add(
            GroupNorm if groups else LayerNorm,
            (value,),
            scale=self.vector(f"g{number}", scale) if roles in ("both", "scale") else None,
            shift=self.vector(f"h{number}", shift) if roles in ("both", "shift") else None,
            epsilon=1e-5,
            **({"groups": groups} if groups else {}),
        )

    def relu(self, value: str) -> str:
        """ReLU."""
        return self._add(Relu, (value,))

    def relu6(self, value: str) -> str:
        """ReLU6."""
        return self._add(Relu6, (value,))

    def activation(self, kind: type[Operator], value: str) -> str:
        """Any activation, with the numbers that tests give it."""
        return self._add(kind, (value,), **numbers_of(kind))

    def add(self, left: str, right: str) -> str:
        """The sum of two values."""
        return self._add(Add, (left, right))

    def arithmetic(self, kind: type[Arithmetic], left: str, right: str) -> str:
        """An operation of two values."""
        return self._add(kind, (left, right))

    def stored(
        self,
        kind: type[Arithmetic],
        value: str,
        tensor: np.ndarray,
        first: bool = False,
        trained: bool = True,
        last: bool = False,
    ) -> str:
        """An operation of a value and a stored tensor, which is a constant where it is not trained."""
        role, name = "operand" if trained else "constant", f"o{len(self.operators)}"
        self.vector(name, tensor.astype(np.float32), trained)
        return self._add(kind, (value,), **{role: name}, stored_first=first, features_last=last)

    def reshape(self, value: str, height: int) -> str:
        """The positions in another number of rows."""
        return self._add(Reshape, (value,), height=height)

    def seen_as(self, value: str, channels: int, height: int) -> str:
        """The same numbers in another shape."""
        return self._add(Reshape, (value,), channels=channels, height=height)

    def transpose(self, value: str, view: tuple[int, int, int, int], shape: tuple[int, int, int]) -> str:
        """The numbers seen as four axes, the middle two in the other order."""
        name = f"o{len(self.operators)}"
        self.operators.append(Transpose(name, (value,), shape, view=view))
        self.shapes[name] = shape
        return name

    def matmul(self, first: str, second: str, turned: tuple[bool, bool] = (False, False)) -> str:
        """A product of matrices for each channel."""
        return self._add(MatMul, (first, second), first_turned=turned[0], second_turned=turned[1])

    def softmax(self, value: str) -> str:
        """Along the width."""
        return self._add(Softmax, (value,))

    def attention(
        self, value: str, heads: int, scale: float = 1.0, windows: int = 1, bias: int = 0, masks: int = 0
    ) -> str:
        """Attention over channels that are a third each of queries, keys and values, with so many numbers of a bias."""
        channels, *positions = self.shapes[value]
        number, length = len(self.operators), prod(positions) // windows
        beside = {}
        if bias:
            beside["bias"] = self.vector(f"b{number}", self.random.normal(size=bias).astype(np.float32))
            places = self.random.integers(0, bias, (heads, length, length)).astype(np.int32)
            beside["places"] = f"p{number}"
            self.parameters[f"p{number}"] = Parameter(f"p{number}", places.shape, {"values": places}, trainable=False)
        if masks:
            mask = np.where(self.random.random((masks, length, length)) < 0.3, -100, 0).astype(np.float32)
            beside["mask"] = self.vector(f"m{number}", mask, False)
        values = {"heads": heads, "features": channels // 3, "scale": scale, "windows": windows}
        return self._add(Attention, (value,), **values, **beside)

    def prepend(self, value: str, count: int = 1) -> str:
        """Stored tokens in front of the positions."""
        tokens = self.random.normal(size=(1, count, self.shapes[value][0])).astype(np.float32)
        return self._add(Prepend, (value,), tokens=self.vector(f"t{len(self.operators)}", tokens))

    def positions(self, value: str, first: int, count: int = 1) -> str:
        """Some positions."""
        return self._add(Positions, (value,), first=first, count=count)

    def select_positions(self, value: str, listed: np.ndarray) -> str:
        """The listed positions."""
        name = f"l{len(self.operators)}"
        self.parameters[name] = Parameter(name, listed.shape, {"values": listed.astype(np.int32)}, trainable=False)
        return self._add(SelectPositions, (value,), listed=name)

    def transformer(self, value: str, heads: int = 2, fmt: str = "dense") -> str:
        """Attention and a hidden layer, each behind a layer norm and around a shortcut."""
        width = self.shapes[value][0]
        inner = self.linear(self.sample_norm(value, 0), 3 * width, fmt)
        value = self.add(value, self.linear(self.attention(inner, heads, (heads / width) ** 0.5), width, fmt))
        inner = self.activation(Gelu, self.linear(self.sample_norm(value, 0), 2 * width, fmt))
        return self.add(value, self.linear(inner, width, fmt))

    def max_pool(self, value: str, kernel: int = 2, stride: int = 2, padding: int = 0, dilation: int = 1) -> str:
        """Max pooling."""
        pads = (padding,) * 4
        return self._add(
            MaxPool,
            (value,),
            kernel=(kernel, kernel),
            stride=(stride, stride),
            padding=pads,
            ceil_mode=False,
            dilation=(dilation, dilation),
        )

    def avg_pool(
        self, value: str, kernel: int = 2, stride: int = 2, padding: int = 0, ceil: bool = False, include: bool = True
    ) -> str:
        """Average pooling."""
        return self._add(
            AvgPool,
            (value,),
            kernel=(kernel, kernel),
            stride=(stride, stride),
            padding=(padding,) * 4,
            ceil_mode=ceil,
            count_include_pad=include,
        )

    def global_pool(self, value: str) -> str:
        """Global average pooling."""
        return self._add(GlobalAvgPool, (value,))

    def flatten(self, value: str) -> str:
        """All of a sample in one row."""
        return self._add(Flatten, (value,))

    def select(self, value: str, channels: list[int]) -> str:
        """Some channels in some order."""
        listed = self.vector(f"s{len(self.operators)}", np.array(channels, np.int32), False)
        return self._add(Select, (value,), channels=listed)

    def concat(self, *values: str) -> str:
        """The channels of all."""
        return self._add(Concat, values)

    def pad(self, value: str, padding: tuple[int, int, int, int] = (1, 1, 1, 1), fill: str = "zeros") -> str:
        """More rows and columns, or fewer."""
        return self._add(Pad, (value,), padding=padding, fill=fill)

    def resize(
        self,
        value: str,
        size: tuple[int, int],
        coordinates: str = "asymmetric",
        rounding: str | None = None,
        scale: tuple[float, float] | None = None,
    ) -> str:
        """Another size: nearest where a rounding is given, else bilinear."""
        numbers = {} if rounding is None else {"rounding": rounding}
        kind = ResizeLinear if rounding is None else ResizeNearest
        return self._add(kind, (value,), size=size, coordinates=coordinates, scale=scale, **numbers)

    def head(self, value: str, fmt: str = "dense") -> Network:
        """Global pooling and a classifier; the finished network."""
        self.linear(self.flatten(self.global_pool(value)), self.classes, fmt)
        return self.network()


def random_mask(
    random: np.random.Generator, shape: tuple[int, ...], scheme: str, sparsity: float, height: int
) -> np.ndarray:
    """A mask of the scheme's shape that keeps about 1 - sparsity of the weights, and at least one unit."""
    out, columns = shape[0], int(np.prod(shape[1:]))
    if scheme == "irregular":
        return _some(random, out * columns, sparsity).reshape(shape)
    if scheme == "block":
        blocks = _some(random, out // height * columns, sparsity).reshape(out // height, 1, columns)
        return np.broadcast_to(blocks, (out // height, height, columns)).reshape(shape)
    if scheme == "channel":
        kept = _some(random, shape[1], sparsity)
        return np.broadcast_to(kept.reshape(1, -1, *(1,) * (len(shape) - 2)), shape).copy()
    cells = np.zeros((8, 9), bool)
    np.put_along_axis(cells, PATTERNS.astype(np.intp), True, axis=1)
    kernels = _some(random, out * shape[1], 1 - (1 - sparsity) * 9 / 4)
    return (cells[random.integers(0, 8, kernels.size)] & kernels[:, None]).reshape(shape)


def _some(random: np.random.Generator, units: int, sparsity: float) -> np.ndarray:
    mask = np.zeros(units, bool)
    mask[random.permutation(units)[: max(1, int((1 - sparsity) * units))]] = True
    return mask


def resnet(
    fmt: str = "csr", sparsity: float = 0.9, blocks: int = 5, width: int = 32, size: int = 32, classes: int = 10
) -> Network:
    """The residual network of the published scripts: three stages of `blocks` basic blocks."""
    b = Builder((3, size, size), classes)
    x = b.relu(b.norm(b.conv("input", width)))
    for stage in range(3):
        out = width << stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            y = b.relu(b.norm(b.conv(x, out, stride=stride, fmt=fmt, sparsity=sparsity)))
            y = b.norm(b.conv(y, out, fmt=fmt, sparsity=sparsity))
            if b.shapes[x] != b.shapes[y]:
                x = b.norm(b.conv(x, out, kernel=1, stride=stride, padding=0))
            x = b.relu(b.add(y, x))
    return b.head(x)
