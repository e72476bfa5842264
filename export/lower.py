"""The plain ONNX graph becomes the operators and dense parameters of the native network."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx

from edge.network.network import INPUT, Network
from edge.network.operators import (
    Add,
    AvgPool,
    BatchNorm,
    Conv,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Operator,
    Relu,
    Relu6,
    Select,
)
from edge.parameter import Parameter
from export.graph import attributes, module_of, shapes, tensors
from mest.errors import InputError


def lower(model: onnx.ModelProto, trainable: Collection[str]) -> Network:
    """The native network of a normalised graph, every parameter dense.

    A Gather of channels that feeds one convolution or linear layer stays a `select`; compression merges it into the
    layer. Raises InputError naming the first operator, and its module, that the native engine lacks.
    """
    return _Lowering(model, trainable).network()


class _Lowering:
    def __init__(self, model: onnx.ModelProto, trainable: Collection[str]) -> None:
        self.graph = model.graph
        self.sizes = shapes(model)
        self.constants = tensors(model.graph)
        self.trainable = set(trainable)
        self.names = {model.graph.input[0].name: INPUT}
        self.parameters: dict[str, Parameter] = {}
        self.weights: dict[str, str] = {}

    def network(self) -> Network:
        operators = []
        for node in self.graph.node:
            operator = self.operator(node)
            self.names[node.output[0]] = operator.name
            operators.append(operator)
        if not operators or operators[-1].name != self.graph.output[0].name:
            raise InputError("the native engine needs the logits to be the result of the last operator")
        _, *image = self.sizes[self.graph.input[0].name]
        if len(image) != 3 or None in image:
            raise InputError(f"the native engine needs images (channels, height, width), not {image}")
        channels, height, width = (int(size or 0) for size in image)
        return Network((channels, height, width), operators[-1].shape[0], tuple(operators), self.parameters)

    def operator(self, node: onnx.NodeProto) -> Operator:
        size = self.sizes.get(node.output[0], (None,))[1:]
        if None in size or not size:
            raise self._refused(node, "its output shape is not fixed")
        shape = tuple(int(dim or 0) for dim in size)
        values = attributes(node)
        make = getattr(self, f"_{node.op_type.lower()}", None)
        if make is None or node.domain not in ("", "ai.onnx"):
            raise self._refused(node, "the native engine has no such operator")
        operator: Operator = make(node, node.output[0], shape, values)
        return operator

    def _refused(self, node: onnx.NodeProto, reason: str) -> InputError:
        module = module_of(node) or "the model"
        return InputError(f"operator {node.op_type} in module {module} ({node.output[0]}): {reason}")

    def _inputs(self, node: onnx.NodeProto, count: int = 1) -> tuple[str, ...]:
        for name in node.input[:count]:
            if name not in self.names:
                raise self._refused(node, f"its input {name} is a constant")
        return tuple(self.names[name] for name in node.input[:count])

    def _parameter(self, node: onnx.NodeProto, index: int, weight: bool = False) -> str:
        name = node.input[index]
        if name not in self.constants:
            raise self._refused(node, f"its input {name} is computed; only stored parameters are supported")
        if weight and self.weights.setdefault(name, node.output[0]) != node.output[0]:
            raise self._refused(node, f"it shares {name} with {self.weights[name]}; the native engine needs one each")
        array = np.ascontiguousarray(self.constants[name], np.float32)
        self.parameters[name] = Parameter(name, array.shape, {"values": array}, trainable=name in self.trainable)
        return name

    def _optional(self, node: onnx.NodeProto, index: int) -> str | None:
        return self._parameter(node, index) if len(node.input) > index and node.input[index] else None

    def _conv(self, node: onnx.NodeProto, name: str, shape: tuple[int, ...], values: dict[str, Any]) -> Operator:
        if len(values["kernel_shape"]) != 2:
            raise self._refused(node, "only two-dimensional convolutions are supported")
        return Conv(
            name,
            self._inputs(node),
            shape,
            weight=self._parameter(node, 1, weight=True),
            bias=self._optional(node, 2),
            stride=_pair(values.get("strides", [1, 1])),
            padding=_padding(values),
            dilation=_pair(values.get("dilations", [1, 1])),
            groups=int(values.get("group", 1)),
        )

    def _gemm(self, node: onnx.NodeProto, name: str, shape: tuple[int, ...], values: dict[str, Any]) -> Operator:
        plain = values.get("alpha", 1) == 1 and values.get("beta", 1) == 1 and not values.get("transA")
        if not plain or not values.get("transB"):
            raise self._refused(node, "only x · Wᵀ + b is supported")
        return Linear(
            name,
            self._inputs(node),
            shape,
            weight=self._parameter(node, 1, weight=True),
            bias=self._optional(node, 2),
        )

    def _batchnormalization(
        self, node: onnx.NodeProto, name: str, shape: tuple[int, ...], values: dict[str, Any]
    ) -> Operator:
        scale, shift, mean, variance = (self._parameter(node, index) for index in range(1, 5))
        return BatchNorm(
            name,
            self._inputs(node),
            shape,
            scale=scale,
            shift=shift,
            mean=mean,
            variance=variance,
            epsilon=_decimal(values.get("epsilon", 1e-5)),
            momentum=round(1 - _decimal(values.get("momentum", 0.9)), 7),
        )

    def _relu(self, node: onnx.NodeProto, name: str, shape: tuple[int, ...], values: dict[str, Any]) -> Operator:
        return Relu(name, self._inputs(node), shape)

    def _clip(self, node: onnx.NodeProto, name: str, shape: tuple[int, ...], values: dict[str, Any]) -> Operator:
        bounds = [self.constants.get(bound) for bound in node.input[1:3]]
        limits = [None if bound is None else float(bound.reshape(-1)[0]) for bound in bounds]
        if limits != [0.0, 6.0]:
            raise self._refused(node, f"only a clip to 0..6 is supported, not {limits}")
        return Relu6(name, self._inputs(node), shape)

    def _add(self, node: onnx.NodeProto, name: str, shape: tuple[int, ...], values: dict[str, Any]) -> Operator:
        inputs = self._inputs(node, 2)
        if self.sizes[node.input[0]][1:] != self.sizes[node.input[1]][1:]:
            raise self._refused(node, "only sums of equal shapes are supported")
        return Add(name, inputs, shape)

    def _maxpool(self, node: onnx.NodeProto, name: str, shape: tuple[int, ...], values: dict[str, Any]) -> Operator:
        return MaxPool(
            name,
            self._inputs(node),
            shape,
            kernel=_pair(values["kernel_shape"]),
            stride=_pair(values.get("strides", [1, 1])),
            padding=_padding(values),
            ceil_mode=bool(values.get("ceil_mode", 0)),
            dilation=_pair(values.get("dilations", [1, 1])),
        )

    def _averagepool(self, node: onnx.NodeProto, name: str, shape: tuple[int, ...], values: dict[str, Any]) -> Operator:
        return AvgPool(
            name,
            self._inputs(node),
            shape,
            kernel=_pair(values["kernel_shape"]),
            stride=_pair(values.get("strides", [1, 1])),
            padding=_padding(values),
            ceil_mode=bool(values.get("ceil_mode", 0)),
            count_include_pad=bool(values.get("count_include_pad", 0)),
        )

    def _globalaveragepool(
        self, node: onnx.NodeProto, name: str, shape: tuple[int, ...], values: dict[str, Any]
    ) -> Operator:
        return GlobalAvgPool(name, self._inputs(node), shape)

    def _flatten(self, node: onnx.NodeProto, name: str, shape: tuple[int, ...], values: dict[str, Any]) -> Operator:
        if values.get("axis", 1) != 1:
            raise self._refused(node, "only flattening behind the batch is supported")
        return Flatten(name, self._inputs(node), shape)

    def _gather(self, node: onnx.NodeProto, name: str, shape: tuple[int, ...], values: dict[str, Any]) -> Operator:
        channels = self.constants.get(node.input[1])
        if values.get("axis", 0) != 1 or channels is None or channels.ndim != 1:
            raise self._refused(node, "only a stored selection of channels is supported")
        array = channels.astype(np.int32)
        listed = node.input[1]
        self.parameters[listed] = Parameter(listed, array.shape, {"values": array}, trainable=False)
        return Select(name, self._inputs(node), shape, channels=listed)


def _pair(values: Any) -> tuple[int, int]:
    return int(values[0]), int(values[1])


def _padding(values: dict[str, Any]) -> tuple[int, int, int, int]:
    top, left, bottom, right = values.get("pads", [0, 0, 0, 0])
    return int(top), int(left), int(bottom), int(right)


def _decimal(value: float) -> float:
    """The short decimal that a float32 attribute stands for: 0.9, not 0.8999999761581421."""
    return float(str(np.float32(value)))
