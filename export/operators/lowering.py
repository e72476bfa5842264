"""The network under construction: what a rule asks for while it makes an operator of a node."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx

from edge.network import INPUT
from edge.weight.parameter import Parameter
from export.graph import module_of, producers, shapes, tensors
from mest.errors import InputError


class Lowering:
    """A graph's sizes and stored tensors, and the names and parameters of the operators made so far."""

    def __init__(self, model: onnx.ModelProto, trainable: Collection[str], fixed: Collection[str] = ()) -> None:
        self.graph = model.graph
        self.sizes = shapes(model)
        self.constants = tensors(model.graph)
        self.makers = producers(model.graph)
        self.places = {name: place for place, node in enumerate(model.graph.node) for name in node.output}
        self.moving = {model.graph.input[0].name}  # the values that an image is in
        for node in model.graph.node:
            if self.moving.intersection(node.input) and node.op_type != "Shape":
                self.moving.update(node.output)
        self.trainable = set(trainable)
        self.stored = {*trainable, *fixed}  # what is a tensor of the model, not of the graph alone
        self.names = {model.graph.input[0].name: INPUT}
        self.parameters: dict[str, Parameter] = {}
        self.weights: dict[str, str] = {}  # by weight: the node that reads it
        self.operands: set[str] = set()  # the parameters that arithmetic reads

    def refused(self, node: onnx.NodeProto, reason: str) -> InputError:
        """The error that names a node, its module and why it cannot be an operator of the network."""
        module = module_of(node) or "the model"
        return InputError(f"operator {node.op_type} in module {module} ({node.output[0]}): {reason}")

    def inputs(self, node: onnx.NodeProto, count: int = 1) -> tuple[str, ...]:
        """The first inputs of a node, which must be computed."""
        return tuple(self.value(node, index) for index in range(min(count, len(node.input))))

    def value(self, node: onnx.NodeProto, index: int) -> str:
        """An input of a node, which must be computed."""
        name = node.input[index]
        if name not in self.names:
            raise self.refused(node, f"its input {name} is a constant")
        return self.names[name]

    def parameter(self, node: onnx.NodeProto, index: int) -> str:
        """An input as a parameter of the network, float32; it must be stored."""
        name = node.input[index]
        if name not in self.constants:
            raise self.refused(node, f"its input {name} is computed; only stored parameters are supported")
        if name in self.operands:
            raise self.refused(node, f"{name} is used in arithmetic too; the native engine needs one each")
        array = np.asarray(self.constants[name], np.float32, order="C")
        self.parameters[name] = Parameter(name, array.shape, {"values": array}, trainable=name in self.trainable)
        return name

    def operand(self, node: onnx.NodeProto, index: int) -> dict[str, str]:
        """A stored input as an operand of arithmetic, by its role: a parameter of the model, or else a constant."""
        name = node.input[index]
        if name not in self.trainable:
            return {"constant": self.constant(node, self.constants[name])}
        if name not in self.operands:
            if name in self.parameters:
                raise self.refused(node, f"{name} is another operator's too; the native engine needs one each")
            self.parameter(node, index)
            self.operands.add(name)
        return {"operand": name}

    def constant(self, node: onnx.NodeProto, array: np.ndarray) -> str:
        """Numbers that are no parameter of the model, under a name of the node's own."""
        name, values = f"{node.output[0]}.constant", np.array(array, np.float32)
        self.parameters[name] = Parameter(name, values.shape, {"values": values}, trainable=False)
        return name

    def weight(self, node: onnx.NodeProto, index: int) -> str:
        """As `parameter`, and no other node's weight."""
        name = node.input[index]
        if name in self.constants and self.weights.setdefault(name, node.output[0]) != node.output[0]:
            raise self.refused(node, f"it shares {name} with {self.weights[name]}; the native engine needs one each")
        return self.parameter(node, index)

    def optional(self, node: onnx.NodeProto, index: int) -> str | None:
        """As `parameter`, where the node has such an input."""
        return self.parameter(node, index) if len(node.input) > index and node.input[index] else None

    def channels(self, node: onnx.NodeProto, index: int) -> str | None:
        """An input as a list of channels, int32; None where it is not a stored list."""
        name = node.input[index]
        listed = self.constants.get(name)
        if listed is None or listed.ndim != 1:
            return None
        return self.listed(name, listed)

    def listed(self, name: str, channels: np.ndarray) -> str:
        """A new parameter that lists channels, int32; its name."""
        array = channels.astype(np.int32)
        self.parameters[name] = Parameter(name, array.shape, {"values": array}, trainable=False)
        return name


def pair(values: dict[str, Any], name: str) -> tuple[int, int]:
    """An attribute of height and width, 1 where it is not given."""
    height, width = values.get(name, [1, 1])
    return int(height), int(width)


def padding(values: dict[str, Any]) -> tuple[int, int, int, int]:
    """Top, left, bottom and right."""
    top, left, bottom, right = values.get("pads", [0, 0, 0, 0])
    return int(top), int(left), int(bottom), int(right)


def decimal(value: float) -> float:
    """The short decimal that a float32 attribute stands for: 0.9, not 0.8999999761581421."""
    return float(str(np.float32(value)))
