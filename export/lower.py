"""The plain ONNX graph becomes the operators and dense parameters of the native network.

A model that our engines cannot run is still described, so that a board can plan, mutate and save it: what the native
network lacks becomes a `foreign` operator, which only onnxruntime computes.
"""

from __future__ import annotations

from collections.abc import Collection
from math import prod
from typing import Any

import numpy as np
import onnx

from edge.network.network import INPUT, Network, dense_shape
from edge.network.operators import (
    Add,
    AvgPool,
    BatchNorm,
    Conv,
    Flatten,
    Foreign,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Operator,
    Relu,
    Relu6,
    Select,
    ShapeError,
)
from edge.parameter import Parameter
from export.graph import attributes, consumers, module_of, shapes, tensors
from mest.errors import InputError

# Operators that move numbers and compute nothing: seldom what a user should be told of first.
LAYOUT = frozenset({"Concat", "Expand", "Gather", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"})


def lower(model: onnx.ModelProto, trainable: Collection[str]) -> Network:
    """The native network of a normalised graph, every parameter dense.

    A Gather of channels that feeds one convolution or linear layer stays a `select`; compression merges it into the
    layer. Raises InputError naming the first operator, and its module, that the native engine lacks.
    """
    return _Lowering(model, trainable).network()


def describe(model: onnx.ModelProto, trainable: Collection[str], fixed: Collection[str] = ()) -> tuple[Network, str]:
    """The network of a graph that `lower` refuses, with foreign operators; and which operators those are, where.

    `fixed` are parameters that training does not move (running statistics). What depends on parameters or on the number
    of images alone (a transposed weight, a class token for each image) belongs to the operators that read it. Raises
    InputError for a model that takes no images or gives no logits.
    """
    lowering = _Describing(model, trainable, fixed)
    return lowering.network(), lowering.missing()


class _Lowering:
    def __init__(self, model: onnx.ModelProto, trainable: Collection[str]) -> None:
        self.graph = model.graph
        self.sizes = shapes(model)
        self.constants = tensors(model.graph)
        self.trainable = set(trainable)
        self.names = {model.graph.input[0].name: INPUT}
        self.parameters: dict[str, Parameter] = {}
        self.weights: dict[str, str] = {}
        _, *image = self.sizes[model.graph.input[0].name]
        self.values = {INPUT: tuple(int(size or 0) for size in image)}

    def network(self) -> Network:
        operators: list[Operator] = []
        for node in self.graph.node:
            for operator in self.operators(node):
                self.names[operator.name] = operator.name
                self.values[operator.name] = operator.shape
                operators.append(operator)
        if not operators or operators[-1].name != self.graph.output[0].name:
            raise InputError("the logits must be the result of the last operator; return nothing else from the model")
        _, *image = self.sizes[self.graph.input[0].name]
        if len(image) != 3 or None in image:
            raise InputError(f"a board takes images (channels, height, width), not {image}")
        channels, height, width = (int(size or 0) for size in image)
        return Network((channels, height, width), operators[-1].shape[0], tuple(operators), self.parameters)

    def operators(self, node: onnx.NodeProto) -> list[Operator]:
        """What becomes of a node; one operator here."""
        return [self.operator(node)]

    def operator(self, node: onnx.NodeProto) -> Operator:
        size = self.sizes.get(node.output[0], (None,))[1:]
        make = getattr(self, f"_{node.op_type.lower()}", None)
        if make is None or node.domain not in ("", "ai.onnx"):
            raise self._refused(node, "the native engine has no such operator")
        if None in size or not size:
            raise self._refused(node, "its output shape is not fixed")
        shape = tuple(int(dim or 0) for dim in size)
        operator: Operator = make(node, node.output[0], shape, attributes(node))
        try:
            weight = dense_shape(operator, self.parameters)
            operator.output_shape(*(self.values[name] for name in operator.inputs), weight=weight)
        except ShapeError as unfit:
            raise self._refused(node, str(unfit)) from unfit
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


class _Describing(_Lowering):
    """Lowers what can be, and puts a foreign operator in the place of the rest."""

    LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

    def __init__(self, model: onnx.ModelProto, trainable: Collection[str], fixed: Collection[str]) -> None:
        super().__init__(model, trainable)
        self.stored = {*trainable, *fixed}
        self.read = {*consumers(model.graph), *(output.name for output in model.graph.output)}
        self.made_of: dict[str, tuple[str, ...]] = {}  # by value that no image is in: the parameters it is made of
        self.refusals: dict[str, str] = {}

    def missing(self) -> str:
        """The operator that the native network lacks, one that computes before one that moves, and a few others."""
        kinds = sorted(self.refusals, key=lambda kind: (kind in LAYOUT, hasattr(self, f"_{kind.lower()}")))
        others = ", ".join(kinds[1:4]) + (f" and {len(kinds) - 4} more" if len(kinds) > 4 else "")
        return self.refusals[kinds[0]] + (f", nor {others} as used here" if others else "")

    def operators(self, node: onnx.NodeProto) -> list[Operator]:
        present, weights = dict(self.parameters), dict(self.weights)
        try:
            return super().operators(node)
        except InputError as refused:
            self.parameters, self.weights = present, weights
            return self._foreign(node, str(refused))

    def _foreign(self, node: onnx.NodeProto, refusal: str) -> list[Operator]:
        inputs = tuple(dict.fromkeys(self.names[name] for name in node.input if name in self.names))
        reads = [name for name in node.input if name in self.stored]
        reads += [read for name in node.input for read in self.made_of.get(name, ())]
        if not inputs or node.op_type == "Shape":
            self.made_of.update(dict.fromkeys(node.output, tuple(reads)))
            return []
        self.refusals.setdefault(node.op_type, refusal)
        for name in reads:
            array = np.ascontiguousarray(self.constants[name], np.float32)
            self.parameters[name] = Parameter(name, array.shape, {"values": array}, trainable=name in self.trainable)
        layer = node.op_type in self.LAYERS
        weight = next((name for name in reads if layer and self.constants[name].ndim > 1), None)
        others = tuple(dict.fromkeys(name for name in reads if name != weight))
        made: list[Operator] = []
        for output in node.output:
            if output in self.read:
                place = (output, inputs, self._size(output), node.op_type, module_of(node) or None)
                made.append(Foreign(*place, *((None, ()) if made else (weight, others))))
        return made

    def _size(self, value: str) -> tuple[int, ...]:
        """A value's shape per image; one number where its first dimension is not the images or another is unknown."""
        first, *rest = self.sizes.get(value) or (None, 1)
        if first is None and rest and None not in rest:
            return tuple(int(size or 0) for size in rest)
        return (prod(int(size or 1) for size in (first, *rest)),)


def _pair(values: Any) -> tuple[int, int]:
    return int(values[0]), int(values[1])


def _padding(values: dict[str, Any]) -> tuple[int, int, int, int]:
    top, left, bottom, right = values.get("pads", [0, 0, 0, 0])
    return int(top), int(left), int(bottom), int(right)


def _decimal(value: float) -> float:
    """The short decimal that a float32 attribute stands for: 0.9, not 0.8999999761581421."""
    return float(str(np.float32(value)))
