"""A small network with every operator and every format, built by hand."""

from __future__ import annotations

import numpy as np

from edge.network import (
    Add,
    AvgPool,
    BatchNorm,
    Conv,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Network,
    Operator,
    Parameter,
    Relu,
    Relu6,
    Select,
)
from edge.weight.formats import PATTERNS, encode_parameter

ONE, HALF = (1, 1), (2, 2)
SAME = (1, 1, 1, 1)


def sparse_mask(shape: tuple[int, ...], scheme: str, keep: float, rng: np.random.Generator) -> np.ndarray:
    """A random mask of whole units (blocks of 4 rows), at least one in each quarter of the layer."""
    out, inputs = shape[:2]
    if scheme == "irregular":
        mask = rng.random(shape) < keep
    elif scheme == "block":
        blocks = rng.random((out // 4, 1, int(np.prod(shape[1:])))) < keep
        mask = np.repeat(blocks, 4, axis=1).reshape(shape)
    elif scheme == "channel":
        channels = np.zeros(inputs, bool)
        channels[rng.permutation(inputs)[: max(1, int(keep * inputs))]] = True
        return np.broadcast_to(channels.reshape(1, inputs, *[1] * (len(shape) - 2)), shape).copy()
    else:
        flat = np.zeros((out * inputs, 9), bool)
        for kernel in np.flatnonzero(rng.random(out * inputs) < keep):
            flat[kernel, PATTERNS[rng.integers(8)]] = True
        mask = flat.reshape(shape)
    return mask


class Builder:
    """Operators and parameters as they are added, each operator reading the one before it unless told otherwise."""

    def __init__(self, shape: tuple[int, int, int], seed: int = 0) -> None:
        self.shape = shape
        self.rng = np.random.default_rng(seed)
        self.operators: list[Operator] = []
        self.parameters: dict[str, Parameter] = {}

    def shape_of(self, name: str) -> tuple[int, ...]:
        return ({"input": self.shape} | {op.name: op.shape for op in self.operators})[name]

    def last(self) -> str:
        return self.operators[-1].name if self.operators else "input"

    def dense(self, name: str, values: np.ndarray, trainable: bool = True) -> str:
        dtype = np.int32 if values.dtype.kind == "i" else np.float32
        tensors = {"values": values.astype(dtype)}
        self.parameters[name] = Parameter(name=name, shape=values.shape, tensors=tensors, trainable=trainable)
        return name

    def weight(self, name: str, shape: tuple[int, ...], scheme: str | None, keep: float, form: str, groups: int) -> str:
        mask = sparse_mask(shape, scheme, keep, self.rng) if scheme else np.ones(shape, bool)
        weight = (self.rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]) * keep)).astype(np.float32) * mask
        self.parameters[name] = encode_parameter(
            name,
            weight,
            mask,
            scheme=scheme,
            height=4 if scheme == "block" else None,
            target_sparsity=round(1 - keep, 6) if scheme else None,
            format=form,
            groups=groups,
        )
        return name

    def add(self, kind: type[Operator], name: str, *inputs: str, **fields: object) -> str:
        """Any operator, its shape inferred."""
        sources = inputs or (self.last(),)
        made = kind(name, sources, (), **fields)
        parameters = made.parameter_shapes(self.parameters)
        shape = made.output_shape(*(self.shape_of(source) for source in sources), **parameters)
        self.operators.append(kind(name, sources, shape, **fields))
        return name

    def conv(
        self,
        name: str,
        out: int,
        *inputs: str,
        kernel: tuple[int, int] = (3, 3),
        stride: tuple[int, int] = ONE,
        padding: tuple[int, int, int, int] = SAME,
        dilation: tuple[int, int] = ONE,
        groups: int = 1,
        scheme: str | None = None,
        keep: float = 0.3,
        form: str = "auto",
        bias: bool = False,
    ) -> str:
        channels = self.shape_of((inputs or (self.last(),))[0])[0]
        keep = keep if scheme else 1.0
        weight = self.weight(f"{name}.weight", (out, channels // groups, *kernel), scheme, keep, form, groups)
        of_bias = self.dense(f"{name}.bias", self.rng.normal(size=out)) if bias else None
        return self.add(
            Conv, name, *inputs, weight=weight, bias=of_bias, stride=stride, padding=padding, dilation=dilation,
            groups=groups,
        )  # fmt: skip

    def linear(self, name: str, out: int, scheme: str | None = None, keep: float = 0.5, form: str = "auto") -> str:
        features = self.shape_of(self.last())[0]
        weight = self.weight(f"{name}.weight", (out, features), scheme, keep if scheme else 1.0, form, 1)
        bias = self.dense(f"{name}.bias", self.rng.normal(size=out))
        return self.add(Linear, name, weight=weight, bias=bias)

    def norm(self, name: str) -> str:
        channels = self.shape_of(self.last())[0]
        names = {
            "scale": self.dense(f"{name}.weight", self.rng.random(channels) + 0.5),
            "shift": self.dense(f"{name}.bias", self.rng.normal(size=channels) * 0.1),
            "mean": self.dense(f"{name}.running_mean", self.rng.normal(size=channels) * 0.1, trainable=False),
            "variance": self.dense(f"{name}.running_var", self.rng.random(channels) + 0.5, trainable=False),
        }
        return self.add(BatchNorm, name, epsilon=1e-5, momentum=0.1, **names)

    def network(self) -> Network:
        return Network(self.shape, self.operators[-1].shape[0], tuple(self.operators), dict(self.parameters))


def example_network(seed: int = 0) -> Network:
    """3 × 10 × 9 images to 5 classes: a residual block, depthwise and grouped layers, pooling of both kinds."""
    net = Builder((3, 10, 9), seed)
    net.conv("stem", 8, bias=True)
    net.norm("stem_norm")
    net.add(Relu, "stem_relu")
    net.add(MaxPool, "pool", kernel=(3, 3), stride=HALF, padding=SAME, ceil_mode=False, dilation=ONE)
    net.conv("irregular", 12, scheme="irregular")
    net.norm("norm1")
    net.add(Relu, "relu1")
    net.conv("block", 12, scheme="block")
    net.norm("norm2")
    net.conv("shortcut", 12, "pool", kernel=(1, 1), padding=(0, 0, 0, 0))
    net.add(Add, "sum", "norm2", "shortcut")
    net.add(Relu, "relu2")
    net.conv("depthwise", 12, groups=12, dilation=(2, 1), padding=(2, 1, 2, 1))
    net.add(Relu6, "relu6")
    net.conv("pattern", 8, scheme="pattern", keep=0.4)
    net.add(AvgPool, "average", kernel=HALF, stride=HALF, padding=SAME, ceil_mode=True, count_include_pad=False)
    net.conv("channel", 8, scheme="channel", keep=0.5, padding=(0, 1, 2, 1), stride=(1, 2))
    net.norm("norm3")
    net.dense("chosen", np.array([6, 0, 3, 5]), trainable=False)
    net.add(Select, "select", channels="chosen")
    net.conv("grouped", 6, groups=2, scheme="irregular", keep=0.8, form="csr")
    net.add(GlobalAvgPool, "global")
    net.add(Flatten, "flat")
    net.linear("hidden", 10, scheme="irregular", form="masked")
    net.add(Relu, "relu3")
    net.linear("classifier", 5)
    return net.network()
