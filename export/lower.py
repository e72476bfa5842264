"""The plain ONNX graph becomes the operators and dense parameters of the native network.

A model that our engines cannot run is still described, so that a board can plan, mutate and save it: what the native
network lacks becomes a `foreign` operator, which only onnxruntime computes.
"""

from __future__ import annotations

from collections.abc import Collection
from math import prod

import numpy as np
import onnx

from edge.network import INPUT, Foreign, Network, Operator, ShapeError
from edge.weight.parameter import Parameter
from export.graph import attributes, consumers, module_of
from export.operators.foreign import LAYERS, LAYOUT
from export.operators.lowering import Lowering
from export.operators.pattern import Match
from export.operators.patterns import match_of
from export.operators.registry import RULES, rule_of
from export.passes.channels_first import put_channels_first
from export.passes.sample_norm import join_sample_norms
from export.passes.stored_vectors import read_stored_vectors
from export.passes.windows import images_of_windows
from mest.errors import InputError

TAKEN = "a board takes images (channels, height, width), windows (channels, length) or vectors (features,)"


def lower(model: onnx.ModelProto, trainable: Collection[str], fixed: Collection[str] = ()) -> Network:
    """The native network of a normalised graph, every parameter dense.

    A Gather of channels that feeds one convolution or linear layer stays a `select`; compression merges it into the
    layer. `fixed` are parameters that training does not move (running statistics). Raises InputError naming the first
    operator, and its module, that the native engine lacks.
    """
    return _Lowering(_native_form(model, trainable), trainable, fixed).network()


def describe(model: onnx.ModelProto, trainable: Collection[str], fixed: Collection[str] = ()) -> tuple[Network, str]:
    """The network of a graph that `lower` refuses, with foreign operators; and which operators those are, where.

    `fixed` as in `lower`. What depends on parameters or on the number
    of images alone (a transposed weight, a class token for each image) belongs to the operators that read it. Raises
    InputError for a model that takes no images or gives no logits.
    """
    try:
        lowering = _Describing(_native_form(model, trainable), trainable, fixed)
        return lowering.network(), lowering.missing()
    except InputError as refused:
        lowering = _Describing(_of_images(model), trainable, fixed)
        return lowering.network(), str(refused)


def _of_images(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the graph that takes images, with norms that only the native network has."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    join_sample_norms(copied)
    read_stored_vectors(copied)
    images_of_windows(copied)
    return copied


def _native_form(model: onnx.ModelProto, trainable: Collection[str]) -> onnx.ModelProto:
    """A copy of the graph with every value's channels first; raises InputError where that cannot be."""
    copied = _of_images(model)
    put_channels_first(copied, trainable)
    return copied


class _Lowering(Lowering):
    def __init__(self, model: onnx.ModelProto, trainable: Collection[str], fixed: Collection[str]) -> None:
        super().__init__(model, trainable, fixed)
        _, *image = self.sizes[model.graph.input[0].name]
        self.values = {INPUT: tuple(int(size or 0) for size in image)}
        self.matches: dict[str, Match] = {}
        self.nodes = self._read()

    def _read(self) -> list[onnx.NodeProto]:
        """The nodes that something reads, where a pattern of several reads what its operator does."""
        read, nodes = {output.name for output in self.graph.output}, []
        for node in reversed(self.graph.node):
            if not read.intersection(node.output):
                continue
            nodes.append(node)
            match = match_of(node, self) if self.fixed(node) else None
            if match is not None:
                self.matches[node.output[0]] = match
            read.update(node.input if match is None else match.reads)
        return nodes[::-1]

    def fixed(self, node: onnx.NodeProto) -> bool:
        """True if the shape that a node writes for each sample is known."""
        size = self.sizes.get(node.output[0], (None,))[1:]
        return bool(size) and None not in size

    def network(self) -> Network:
        operators: list[Operator] = []
        for node in self.nodes:
            for operator in self.operators(node):
                self.names[operator.name] = operator.name
                self.values[operator.name] = operator.shape
                operators.append(operator)
        if not operators or operators[-1].name != self.graph.output[0].name:
            raise InputError("the logits must be the result of the last operator; return nothing else from the model")
        _, *image = self.sizes[self.graph.input[0].name]
        if len(image) != 3 or None in image:
            raise InputError(f"{TAKEN}, not {image}")
        channels, height, width = (int(size or 0) for size in image)
        return Network((channels, height, width), operators[-1].shape[0], tuple(operators), self.parameters)

    def operators(self, node: onnx.NodeProto) -> list[Operator]:
        """What becomes of a node; one operator here."""
        return [self.operator(node)]

    def operator(self, node: onnx.NodeProto) -> Operator:
        rule = self.matches.get(node.output[0]) or rule_of(node)
        if rule is None:
            raise self.refused(node, "the native engine has no such operator")
        if not self.fixed(node):
            raise self.refused(node, "its output shape is not fixed")
        if len(attributes(node).get("kernel_shape", [0, 0])) != 2:
            raise self.refused(node, "only kernels over images and over windows (channels, length) are supported")
        size = self.sizes[node.output[0]][1:]
        operator = rule.lower(node, tuple(int(dim or 0) for dim in size), self)
        try:
            parameters = operator.parameter_shapes(self.parameters)
            operator.output_shape(*(self.values[name] for name in operator.inputs), **parameters)
        except ShapeError as unfit:
            raise self.refused(node, str(unfit)) from unfit
        return operator


class _Describing(_Lowering):
    """Lowers what can be, and puts a foreign operator in the place of the rest."""

    def __init__(self, model: onnx.ModelProto, trainable: Collection[str], fixed: Collection[str]) -> None:
        super().__init__(model, trainable, fixed)
        self.read = {*consumers(self.graph), *(output.name for output in self.graph.output)}
        self.made_of: dict[str, tuple[str, ...]] = {}  # by value that no image is in: the parameters it is made of
        self.refusals: dict[str, str] = {}

    def missing(self) -> str:
        """The operator that the native network lacks, one that computes before one that moves, and a few others."""
        kinds = sorted(self.refusals, key=lambda kind: (kind in LAYOUT, kind in RULES))
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
        layer = node.op_type in LAYERS
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
