"""One small description an operator: a random case of it, and what PyTorch makes of the same.

`DESCRIPTIONS` must have every operator that the reference computes; the tests over the registries draw from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from activation_cases import ACTIVATIONS
from activation_numbers import numbers_of
from arithmetic_cases import ARITHMETIC, calculate
from hypothesis import assume
from hypothesis import strategies as st
from resampling_cases import MODES, NEAREST, resampled
from sample_norm_case import sample_normalised
from stored_shapes import stored_shapes
from token_cases import attended, linearly, prepended
from torch.nn import functional as F

from edge.network import (
    Arithmetic,
    AvgPool,
    BatchNorm,
    Conv,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Operator,
    Select,
    ShapeError,
)
from edge.network.operators.arrangement import Reshape, Transpose
from edge.network.operators.attention import Attention
from edge.network.operators.concatenation import Concat
from edge.network.operators.convolution import ConvTranspose
from edge.network.operators.products import MatMul, Softmax
from edge.network.operators.resampling import Pad, ResizeLinear, ResizeNearest
from edge.network.operators.sample_norm import GroupNorm, LayerNorm
from edge.network.operators.tokens import Positions, Prepend, SelectPositions

Draw = Callable[[st.SearchStrategy], int]
Torch = Callable[[list[torch.Tensor], Mapping[str, torch.Tensor]], torch.Tensor]


@dataclass(frozen=True)
class Case:
    """An operator without a shape yet, its parameters by role, the shapes of its inputs a sample, PyTorch's version.

    `bends` are the values at which the operator has no derivative; inputs stay `clear` of them.
    """

    make: Callable[[tuple[int, ...]], Operator]
    tensors: dict[str, np.ndarray]
    inputs: tuple[tuple[int, ...], ...]
    torch: Torch
    batch_statistics: bool = False
    bends: tuple[float, ...] = ()
    clear: float = 1e-4

    def operator(self) -> Operator:
        """The operator with the shape that its rule infers; not every case has one."""
        draft = self.make(())
        shapes = {role: tensor.shape for role, tensor in self.tensors.items()}
        try:
            return self.make(draft.output_shape(*self.inputs, **shapes))
        except ShapeError:
            assume(False)
            raise


def size(draw: Draw, low: int = 1, high: int = 4) -> int:
    """A small number."""
    return draw(st.integers(low, high))


def image(draw: Draw, channels: int) -> tuple[int, int, int]:
    """The shape of a small image."""
    return channels, size(draw, 3, 7), size(draw, 3, 7)


def conv(draw: Draw, rng: np.random.Generator) -> Case:
    groups, inner, outer = size(draw, 1, 3), size(draw, 1, 2), size(draw, 1, 2)
    stride, dilation = (size(draw, 1, 2), size(draw, 1, 3)), (size(draw, 1, 2), size(draw, 1, 2))
    padding = tuple(size(draw, 0, 2) for _ in range(4))
    weight = rng.normal(size=(groups * outer, inner, size(draw, 1, 3), size(draw, 1, 3)))
    bias = {"bias": rng.normal(size=groups * outer)} if draw(st.booleans()) else {}
    top, left, bottom, right = padding

    def run(x: list[torch.Tensor], t: Mapping[str, torch.Tensor]) -> torch.Tensor:
        padded = F.pad(x[0], (left, right, top, bottom))
        return F.conv2d(padded, t["weight"], t.get("bias"), stride, 0, dilation, groups)

    def make(shape: tuple[int, ...]) -> Operator:
        return Conv("y", ("x",), shape, "w", "b" if bias else None, stride, padding, dilation, groups)

    return Case(make, {"weight": weight, **bias}, (image(draw, groups * inner),), run)


def conv_transpose(draw: Draw, rng: np.random.Generator) -> Case:
    groups, inner, outer = size(draw, 1, 3), size(draw, 1, 2), size(draw, 1, 2)
    stride, dilation = (size(draw, 1, 3), size(draw, 1, 3)), (size(draw, 1, 2), size(draw, 1, 2))
    padding, extra = (size(draw, 0, 2), size(draw, 0, 2)), tuple(size(draw, 0, step - 1) for step in stride)
    weight = rng.normal(size=(groups * inner, outer, size(draw, 1, 3), size(draw, 1, 3)))
    bias = {"bias": rng.normal(size=groups * outer)} if draw(st.booleans()) else {}

    def make(shape: tuple[int, ...]) -> Operator:
        names = "w", "b" if bias else None
        return ConvTranspose("y", ("x",), shape, *names, stride, padding * 2, extra, dilation, groups)

    def run(x: list[torch.Tensor], t: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return F.conv_transpose2d(x[0], t["weight"], t.get("bias"), stride, padding, extra, groups, dilation)

    return Case(make, {"weight": weight, **bias}, (image(draw, groups * inner),), run)


def linear(draw: Draw, rng: np.random.Generator) -> Case:
    weight = rng.normal(size=(size(draw), size(draw)))
    bias = {"bias": rng.normal(size=len(weight))} if draw(st.booleans()) else {}
    return Case(
        lambda shape: Linear("y", ("x",), shape, "w", "b" if bias else None),
        {"weight": weight, **bias},
        (draw(st.sampled_from([weight.shape[1:], image(draw, weight.shape[1])])),),
        lambda x, t: linearly(x[0], t),
    )


def batch_norm(draw: Draw, rng: np.random.Generator) -> Case:
    channels, training = size(draw), draw(st.booleans())
    tensors = {role: rng.normal(size=channels) for role in ("scale", "shift", "mean")}
    tensors["variance"] = rng.random(channels) + 0.5

    def run(x: list[torch.Tensor], t: Mapping[str, torch.Tensor]) -> torch.Tensor:
        mean, variance = t["mean"].detach().clone(), t["variance"].detach().clone()
        return F.batch_norm(x[0], mean, variance, t["scale"], t["shift"], training, 0.1, 1e-3)

    shape = draw(st.sampled_from([image(draw, channels), (channels,)]))
    return Case(
        lambda found: BatchNorm("y", ("x",), found, "s", "b", "m", "v", 1e-3, 0.1), tensors, (shape,), run, training
    )


def sample_norm(kind: type[Operator]) -> Callable[[Draw, np.random.Generator], Case]:
    def described(draw: Draw, rng: np.random.Generator) -> Case:
        groups = size(draw, 1, 3)
        shape = draw(st.sampled_from([image(draw, groups * size(draw)), (groups * size(draw, 2, 3),)]))
        per_cell = kind is GroupNorm and draw(st.booleans())
        roles = draw(st.sampled_from([(), ("scale",), ("shift",), ("scale", "shift")]))
        tensors = {role: rng.normal(size=shape if per_cell else shape[:1]) for role in roles}
        names = {role: role if role in roles else None for role in ("scale", "shift")}
        numbers = {"groups": groups} if kind is GroupNorm else {}
        return Case(
            lambda found: kind("y", ("x",), found, **names, epsilon=1e-3, **numbers),
            tensors,
            (shape,),
            lambda x, t: sample_normalised(x[0], groups if numbers else 0, t, 1e-3),
        )

    return described


def activation(kind: type[Operator]) -> Callable[[Draw, np.random.Generator], Case]:
    def described(draw: Draw, rng: np.random.Generator) -> Case:
        case, shape = ACTIVATIONS[kind], image(draw, size(draw))
        return Case(
            lambda found: kind("y", ("x",), found, **numbers_of(kind)),
            {},
            (shape,),
            lambda x, t: case.torch(x[0]),
            bends=case.bends,
            clear=case.clear,
        )

    return described


def arithmetic(kind: type[Arithmetic]) -> Callable[[Draw, np.random.Generator], Case]:
    def described(draw: Draw, rng: np.random.Generator) -> Case:
        shape = draw(st.sampled_from([image(draw, size(draw)), (size(draw),)]))
        role = draw(st.sampled_from([None, "operand", "constant"]))
        first, last = (role is not None and draw(st.booleans()) for _ in range(2))
        tensors, inputs = {}, [shape]
        if role:
            tensors[role] = rng.uniform(0.5, 2, draw(st.sampled_from(stored_shapes(shape, last))))
        else:
            inputs.append(tuple(draw(st.sampled_from([1, dimension])) for dimension in shape))
        if draw(st.booleans()):
            inputs.reverse()

        def make(found: tuple[int, ...]) -> Arithmetic:
            places = {"stored_first": first, "features_last": last}
            return kind("y", ("x", "z")[: len(inputs)], found, **dict.fromkeys(tensors, "c"), **places)

        return Case(make, tensors, tuple(inputs), lambda x, t: calculate(make(()), x, t), bends=(0.0,), clear=0.5)

    return described


def max_pool(draw: Draw, rng: np.random.Generator) -> Case:
    kernel, stride = (size(draw, 1, 3), size(draw, 1, 3)), (size(draw, 1, 3), size(draw, 1, 3))
    dilation, ceil_mode = (size(draw, 1, 2), size(draw, 1, 2)), draw(st.booleans())
    pad = size(draw, 0, kernel[0] // 2), size(draw, 0, kernel[1] // 2)
    return Case(
        lambda shape: MaxPool("y", ("x",), shape, kernel, stride, (*pad, *pad), ceil_mode, dilation),
        {},
        (image(draw, size(draw)),),
        lambda x, t: F.max_pool2d(x[0], kernel, stride, pad, dilation, ceil_mode),
    )


def avg_pool(draw: Draw, rng: np.random.Generator) -> Case:
    kernel, stride = (size(draw, 1, 3), size(draw, 1, 3)), (size(draw, 1, 3), size(draw, 1, 3))
    ceil_mode, counted = draw(st.booleans()), draw(st.booleans())
    pad = size(draw, 0, kernel[0] // 2), size(draw, 0, kernel[1] // 2)
    return Case(
        lambda shape: AvgPool("y", ("x",), shape, kernel, stride, (*pad, *pad), ceil_mode, counted),
        {},
        (image(draw, size(draw)),),
        lambda x, t: F.avg_pool2d(x[0], kernel, stride, pad, ceil_mode, counted),
    )


def global_avg_pool(draw: Draw, rng: np.random.Generator) -> Case:
    shape = image(draw, size(draw))
    return Case(lambda found: GlobalAvgPool("y", ("x",), found), {}, (shape,), lambda x, t: x[0].mean((2, 3), True))


def flatten(draw: Draw, rng: np.random.Generator) -> Case:
    shape = image(draw, size(draw))
    return Case(lambda found: Flatten("y", ("x",), found), {}, (shape,), lambda x, t: x[0].flatten(1))


def reshape(draw: Draw, rng: np.random.Generator) -> Case:
    shape = image(draw, size(draw))
    height = draw(st.sampled_from([1, shape[1], shape[2], shape[1] * shape[2]]))
    return Case(
        lambda found: Reshape("y", ("x",), found, height),
        {},
        (shape,),
        lambda x, t: x[0].reshape(len(x[0]), shape[0], height, -1),
    )


def reshape_channels(draw: Draw, rng: np.random.Generator) -> Case:
    shape = image(draw, size(draw))
    channels = draw(st.sampled_from([1, shape[0], shape[1] * shape[2]]))
    return Case(
        lambda found: Reshape("y", ("x",), found, 1, channels),
        {},
        (shape,),
        lambda x, t: x[0].reshape(len(x[0]), channels, 1, -1),
    )


def transpose(draw: Draw, rng: np.random.Generator) -> Case:
    outer, first, second, inner = (size(draw) for _ in range(4))
    found = (outer * second, first, inner)
    return Case(
        lambda _: Transpose("y", ("x",), found, (outer, first, second, inner)),
        {},
        ((outer * first, second, inner),),
        lambda x, t: x[0].reshape(-1, outer, first, second, inner).transpose(2, 3).reshape(-1, *found),
    )


def matmul(draw: Draw, rng: np.random.Generator) -> Case:
    channels, rows, inner, columns = (size(draw) for _ in range(4))
    turned = draw(st.booleans()), draw(st.booleans())
    shapes = [(rows, inner), (inner, columns)]
    stored = tuple((channels, *(shape[::-1] if turn else shape)) for shape, turn in zip(shapes, turned, strict=True))

    def run(x: list[torch.Tensor], t: Mapping[str, torch.Tensor]) -> torch.Tensor:
        first, second = (value.mT if turn else value for value, turn in zip(x, turned, strict=True))
        return first @ second

    return Case(lambda found: MatMul("y", ("x", "z"), found, *turned), {}, stored, run)


def softmax(draw: Draw, rng: np.random.Generator) -> Case:
    shape = image(draw, size(draw))
    return Case(lambda found: Softmax("y", ("x",), found), {}, (shape,), lambda x, t: x[0].softmax(-1))


def select(draw: Draw, rng: np.random.Generator) -> Case:
    channels = size(draw, 1, 5)
    listed = rng.permutation(channels)[: size(draw, 1, channels)].astype(np.int32)
    return Case(
        lambda shape: Select("y", ("x",), shape, "c"),
        {"channels": listed},
        (image(draw, channels),),
        lambda x, t: x[0][:, t["channels"].long()],
    )


def concat(draw: Draw, rng: np.random.Generator) -> Case:
    first = image(draw, size(draw))
    shapes = (first, *((size(draw), *first[1:]) for _ in range(size(draw, 0, 3))))
    names = tuple(f"x{number}" for number in range(len(shapes)))
    return Case(lambda shape: Concat("y", names, shape), {}, shapes, lambda x, t: torch.cat(x, 1))


def attention(draw: Draw, rng: np.random.Generator) -> Case:
    heads, keys, values = size(draw, 1, 3), size(draw, 1, 3), size(draw, 1, 3)
    scale = draw(st.sampled_from([1.0, 0.5, -0.3]))
    windows, length = size(draw, 1, 3), size(draw)
    beside: dict[str, np.ndarray] = {}
    if draw(st.booleans()):
        beside["bias"] = rng.normal(size=(size(draw), 2))
        beside["places"] = rng.integers(0, beside["bias"].size, (heads, length, length)).astype(np.int32)
    if draw(st.booleans()):
        beside["mask"] = rng.normal(size=(draw(st.sampled_from([1, windows])), length, length))
    return Case(
        lambda found: Attention(
            "y", ("x",), found, heads, heads * values, scale, windows, **{role: role for role in beside}
        ),
        beside,
        ((heads * (2 * keys + values), windows, length),),
        lambda x, t: attended(x[0], heads, heads * values, scale, windows, t),
    )


def prepend(draw: Draw, rng: np.random.Generator) -> Case:
    channels, count = size(draw), size(draw, 1, 3)
    shape = draw(st.sampled_from([(count, channels), (1, count, channels)]))
    return Case(
        lambda found: Prepend("y", ("x",), found, "t"),
        {"tokens": rng.normal(size=shape)},
        (image(draw, channels),),
        lambda x, t: prepended(x[0], t["tokens"]),
    )


def positions(draw: Draw, rng: np.random.Generator) -> Case:
    shape = image(draw, size(draw))
    first = draw(st.integers(0, shape[1] * shape[2] - 1))
    count = draw(st.integers(1, shape[1] * shape[2] - first))
    return Case(
        lambda found: Positions("y", ("x",), found, first, count),
        {},
        (shape,),
        lambda x, t: x[0].flatten(2)[:, :, None, first : first + count],
    )


def select_positions(draw: Draw, rng: np.random.Generator) -> Case:
    shape = image(draw, size(draw))
    positions = shape[1] * shape[2]
    listed = rng.permutation(positions)[: size(draw, 1, positions)].astype(np.int32)
    return Case(
        lambda found: SelectPositions("y", ("x",), found, "l"),
        {"listed": listed},
        (shape,),
        lambda x, t: x[0].flatten(2)[:, :, None, t["listed"].long()],
    )


def pad(draw: Draw, rng: np.random.Generator) -> Case:
    fill = draw(st.sampled_from([*MODES]))
    padding = tuple(size(draw, -1 if fill == "zeros" else 0, 2) for _ in range(4))

    def make(found: tuple[int, ...]) -> Pad:
        return Pad("y", ("x",), found, padding, fill)

    return Case(make, {}, (image(draw, size(draw)),), lambda x, t: resampled(make(()), x[0]))


def resize(kind: type[ResizeNearest] | type[ResizeLinear]) -> Callable[[Draw, np.random.Generator], Case]:
    def described(draw: Draw, rng: np.random.Generator) -> Case:
        shape = image(draw, size(draw))
        scale = draw(st.none() | st.tuples(*[st.sampled_from([0.6, 1.0, 1.5, 2.0, 2.3])] * 2))
        new = (size(draw, 1, 9), size(draw, 1, 9))
        if scale:
            new = (int(shape[1] * scale[0]), int(shape[2] * scale[1]))
        if kind is ResizeNearest:
            coordinates, rounding = draw(st.sampled_from([*NEAREST]))
            numbers = {"rounding": rounding}
        else:
            coordinates, numbers = draw(st.sampled_from(["half_pixel", "align_corners"])), {}

        def make(found: tuple[int, ...]) -> Operator:
            return kind("y", ("x",), found, new, coordinates, scale, **numbers)

        return Case(make, {}, (shape,), lambda x, t: resampled(make(()), x[0]))

    return described


DESCRIPTIONS: dict[type[Operator], Callable[[Draw, np.random.Generator], Case]] = {
    Conv: conv,
    ConvTranspose: conv_transpose,
    Linear: linear,
    BatchNorm: batch_norm,
    GroupNorm: sample_norm(GroupNorm),
    LayerNorm: sample_norm(LayerNorm),
    **{kind: activation(kind) for kind in ACTIVATIONS},
    **{kind: arithmetic(kind) for kind in ARITHMETIC},
    MaxPool: max_pool,
    AvgPool: avg_pool,
    GlobalAvgPool: global_avg_pool,
    Flatten: flatten,
    Reshape: lambda draw, rng: draw(st.sampled_from([reshape, reshape_channels]))(draw, rng),
    Transpose: transpose,
    Select: select,
    Concat: concat,
    Attention: attention,
    MatMul: matmul,
    Softmax: softmax,
    Prepend: prepend,
    Positions: positions,
    SelectPositions: select_positions,
    Pad: pad,
    ResizeNearest: resize(ResizeNearest),
    ResizeLinear: resize(ResizeLinear),
}
