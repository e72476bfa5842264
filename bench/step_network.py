"""The residual network that bench.step trains, as a native network with random masks; run, it writes one to disk."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from edge.network import Add, BatchNorm, Conv, Flatten, GlobalAvgPool, Linear, Network, Operator, Relu, write_network
from edge.weight.formats import PATTERNS, find_format
from edge.weight.parameter import Parameter
from edge.weight.units import kept_units, unit_grid

IMAGE = (3, 32, 32)
FORMATS = {"irregular": "csr", "block": "block", "pattern": "pattern", "channel": "channel"}


def residual_network(scheme: str, sparsity: float, width: int = 32, blocks: int = 5, classes: int = 10) -> Network:
    """resnet32 as the paper has it (for 5 blocks and width 32): 3×3 block convolutions sparse, the rest dense."""
    random = np.random.default_rng(0)
    operators: list[Operator] = []
    parameters: dict[str, Parameter] = {}

    def vector(name: str, value: float, size: int, trainable: bool = True) -> str:
        parameters[name] = Parameter(name, (size,), {"values": np.full(size, value, np.float32)}, trainable=trainable)
        return name

    def conv(name: str, source: str, shape: tuple[int, int, int, int], size: int, stride: int, sparse: bool) -> str:
        weight = f"{name}.weight"
        parameters[weight] = random_weight(
            random, weight, shape, scheme if sparse and scheme != "dense" else None, sparsity
        )
        padding = shape[2] // 2
        operators.append(
            Conv(name, (source,), (shape[0], size, size), weight, None, (stride, stride), (padding,) * 4, (1, 1), 1)
        )
        return norm(f"{name}.bn", name, shape[0], size)

    def norm(name: str, source: str, channels: int, size: int) -> str:
        scale, shift = vector(f"{name}.weight", 1, channels), vector(f"{name}.bias", 0, channels)
        mean, variance = vector(f"{name}.mean", 0, channels, False), vector(f"{name}.var", 1, channels, False)
        operators.append(BatchNorm(name, (source,), (channels, size, size), scale, shift, mean, variance, 1e-5, 0.1))
        return name

    def relu(source: str, channels: int, size: int) -> str:
        operators.append(Relu(f"{source}.relu", (source,), (channels, size, size)))
        return operators[-1].name

    x = relu(conv("conv1", "input", (width, 3, 3, 3), 32, 1, False), width, 32)
    channels, size = width, 32
    for stage in range(3):
        out = width << stage
        for block in range(blocks):
            name, stride = f"layer{stage + 1}.{block}", 2 if stage and not block else 1
            size //= stride
            y = relu(conv(f"{name}.conv1", x, (out, channels, 3, 3), size, stride, True), out, size)
            y = conv(f"{name}.conv2", y, (out, out, 3, 3), size, 1, True)
            if stride != 1:
                x = conv(f"{name}.shortcut", x, (out, channels, 1, 1), size, stride, False)
            operators.append(Add(f"{name}.add", (y, x), (out, size, size)))
            x, channels = relu(f"{name}.add", out, size), out
    operators.append(GlobalAvgPool("pool", (x,), (channels, 1, 1)))
    operators.append(Flatten("flat", ("pool",), (channels,)))
    parameters["fc.weight"] = random_weight(random, "fc.weight", (classes, channels), None, 0)
    operators.append(Linear("fc", ("flat",), (classes,), "fc.weight", vector("fc.bias", 0, classes)))
    return Network(IMAGE, classes, tuple(operators), parameters)


def random_weight(
    random: np.random.Generator, name: str, shape: tuple[int, ...], scheme: str | None, sparsity: float
) -> Parameter:
    """A weight of normal numbers, sparse by the scheme with as many units as it keeps."""
    values = random.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
    if scheme is None:
        return Parameter(name, shape, {"values": values})
    height = 4 if scheme == "block" else None
    draft = Parameter(name, shape, {"values": values}, scheme=scheme, height=height, target_sparsity=sparsity)
    mask = random_mask(random, draft, sparsity)
    encoded = find_format(FORMATS[scheme]).encode(np.where(mask, values, 0), mask, height)
    return Parameter(
        name, shape, encoded.tensors, FORMATS[scheme], True, scheme, encoded.height, sparsity, encoded.coding
    )


def random_mask(random: np.random.Generator, parameter: Parameter, sparsity: float) -> np.ndarray:
    """A random mask of the weight's shape that keeps what its scheme keeps at a weight sparsity."""
    rows, columns = unit_grid(parameter)
    kept = np.zeros(rows * columns, bool)
    kept[random.permutation(kept.size)[: kept_units(parameter, sparsity)]] = True
    shape = parameter.shape
    if parameter.scheme == "block":
        height = parameter.height or 1
        return np.broadcast_to(kept.reshape(rows, 1, columns), (rows, height, columns)).reshape(shape)
    if parameter.scheme == "channel":
        return np.broadcast_to(kept.reshape(1, -1, 1, 1), shape)
    if parameter.scheme == "pattern":
        cells = np.zeros((len(PATTERNS), 9), bool)
        np.put_along_axis(cells, PATTERNS.astype(np.intp), True, axis=1)
        return (cells[random.integers(0, len(PATTERNS), kept.size)] & kept[:, None]).reshape(shape)
    return kept.reshape(shape)


def main() -> None:
    """Write the network that the arguments describe into a folder."""
    target = Path(sys.argv[2])
    target.mkdir(parents=True)
    write_network(residual_network(*json.loads(sys.argv[1])), target)


if __name__ == "__main__":
    main()
