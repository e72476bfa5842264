"""Channel sparsity becomes a physically smaller network: filters that nobody reads go, the rest is gathered.

Backwards through the graph, every value learns which of its channels some layer reads: a channel-sparse layer reads its
kept input channels, other layers all of them; batch norm, activations, pooling, depthwise convolutions and sums pass
the question on to their inputs. Forwards, each maker then writes only those channels. Where a reader wants fewer than
are there (the other branch of a residual sum reads more), a Gather in front of it picks its own. Outputs are unchanged:
what is removed was multiplied by zero or read by nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import helper

from export.graph import attributes, set_attributes, set_tensor, shapes, tensors
from export.sparse_layer import SparseLayer

CHANNELWISE = frozenset({"Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "BatchNormalization"})


@dataclass(frozen=True)
class Kept:
    """Which entries of a parameter are left, ascending, along its output and its input channels; None: all of them.

    `offered`: for a layer behind a Gather, the input channels that are there to be read.
    """

    outputs: np.ndarray | None
    inputs: np.ndarray | None
    offered: np.ndarray | None = None


def compact(model: onnx.ModelProto, layers: Mapping[str, SparseLayer]) -> dict[str, Kept]:
    """Make the network physically smaller, in place; return what was kept of every parameter that shrank.

    `layers` are the channel-sparse ones, by weight name. Requires a normalised graph. Ensures equal outputs, and that a
    layer behind a Gather names its indices `<weight>.channels`.
    """
    return _Compaction(model, layers).run() if layers else {}


def cut(array: np.ndarray, kept: Kept | None) -> np.ndarray:
    """A parameter of the whole network as the smaller one has it; None: nothing of it went."""
    if kept is None:
        return array
    if kept.outputs is not None:
        array = array[kept.outputs]
    return array if kept.inputs is None else array[:, kept.inputs]


class _Compaction:
    def __init__(self, model: onnx.ModelProto, layers: Mapping[str, SparseLayer]) -> None:
        self.graph = model.graph
        self.sizes = shapes(model)
        self.weights = tensors(model.graph)
        self.read = {name: _inputs_read(layer.mask) for name, layer in layers.items()}
        self.needed: dict[str, np.ndarray] = {}
        self.kept: dict[str, np.ndarray] = {}
        self.changed: dict[str, Kept] = {}

    def run(self) -> dict[str, Kept]:
        for output in self.graph.output:
            self._need(output.name, None)
        for node in reversed(self.graph.node):
            self._ask_inputs(node)
        for value in self.graph.input:
            self.kept[value.name] = np.arange(self._channels(value.name))
        nodes: list[onnx.NodeProto] = []
        for node in self.graph.node:
            self._decide_outputs(node)
            nodes.extend(self._shrink(node))
            nodes.append(node)
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        del self.graph.value_info[:]
        return self.changed

    def _channels(self, value: str) -> int:
        size = self.sizes.get(value, ())
        return int(size[1] or 0) if len(size) > 1 else 0

    def _need(self, value: str, channels: np.ndarray | None) -> None:
        """Some reader wants these channels of a value (bool per channel; None: all)."""
        every = np.ones(self._channels(value), bool)
        wanted: np.ndarray = self.needed.get(value, ~every) | (every if channels is None else channels)
        self.needed[value] = wanted

    def _kind(self, node: onnx.NodeProto) -> str:
        """How a node relates its output channels to its inputs'."""
        if node.op_type == "Conv":
            groups = attributes(node).get("group", 1)
            out, per_group = self.weights[node.input[1]].shape[:2] if node.input[1] in self.weights else (0, 0)
            if groups == 1 and out:
                return "layer"
            return "channelwise" if groups == out and per_group == 1 else "fixed"
        if node.op_type == "Gemm" and attributes(node).get("transB") and node.input[1] in self.weights:
            return "layer"
        if node.op_type == "Add":
            same = self.sizes.get(node.input[0]) == self.sizes.get(node.input[1])
            return "channelwise" if same and not self.weights.keys() & set(node.input) else "fixed"
        if node.op_type in CHANNELWISE:
            return "channelwise"
        return "flatten" if node.op_type == "Flatten" and attributes(node).get("axis", 1) == 1 else "fixed"

    def _values(self, node: onnx.NodeProto) -> list[str]:
        """The inputs of a node that are computed."""
        count = 2 if node.op_type == "Add" else len(node.input) if self._kind(node) == "fixed" else 1
        return [name for name in node.input[:count] if name and name not in self.weights]

    def _ask_inputs(self, node: onnx.NodeProto) -> None:
        kind = self._kind(node)
        wanted: np.ndarray = self.needed.setdefault(node.output[0], np.zeros(self._channels(node.output[0]), bool))
        if len(wanted) and not wanted.any():
            wanted[0] = True  # a value without channels does not exist
        for name in self._values(node):
            if kind == "channelwise":
                self._need(name, wanted)
            elif kind == "flatten":
                self._need(name, np.any(wanted.reshape(self._channels(name), -1), axis=1))
            elif kind == "layer":
                self._need(name, self.read.get(node.input[1]))
            else:
                self._need(name, None)

    def _decide_outputs(self, node: onnx.NodeProto) -> None:
        kind = self._kind(node)
        for index, name in enumerate(node.output):
            count = self._channels(name)
            if kind == "flatten" and index == 0:
                source = node.input[0]
                per_channel = count // max(1, self._channels(source))
                blocks = self.kept[source][:, None] * per_channel + np.arange(per_channel)
                self.kept[name] = blocks.reshape(-1)
            elif kind in ("channelwise", "layer") and index == 0:
                self.kept[name] = np.flatnonzero(self.needed[name])
            else:
                self.kept[name] = np.arange(count)

    def _shrink(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Cut the node's parameters to what is kept; return the Gathers that must run before it."""
        kind = self._kind(node)
        if kind == "fixed" or kind == "flatten":
            return []
        outputs = self.kept[node.output[0]]
        if kind == "channelwise":
            if node.op_type == "Conv":
                set_attributes(node, group=len(outputs))
                self._cut(node.input[1], outputs, None)
            if node.op_type in ("BatchNormalization", "Conv"):
                for name in node.input[1 if node.op_type == "BatchNormalization" else 2 :]:
                    self._cut(name, outputs, None)
            gathers = [self._gather(node, index, outputs, None) for index in range(len(self._values(node)))]
            return [gather for gather in gathers if gather is not None]
        weight = node.input[1]
        present = self.kept[node.input[0]]
        read: np.ndarray = np.flatnonzero(self.read[weight]) if weight in self.read else present
        wanted = read if len(read) else present[:1]
        self._cut(weight, outputs, wanted)
        if len(wanted) != len(present):
            self.changed[weight] = replace(self.changed[weight], offered=present)
        for name in node.input[2:]:
            self._cut(name, outputs, None)
        gather = self._gather(node, 0, wanted, f"{weight}.channels")
        return [gather] if gather is not None else []

    def _cut(self, name: str, outputs: np.ndarray, inputs: np.ndarray | None) -> None:
        array = self.weights[name]
        whole_out = len(outputs) == array.shape[0]
        whole_in = inputs is None or len(inputs) == array.shape[1]
        if whole_out and whole_in:
            return
        self.changed[name] = Kept(None if whole_out else outputs, None if whole_in else inputs)
        cut = array[outputs] if inputs is None else array[outputs][:, inputs]
        set_tensor(self.graph, name, cut)

    def _gather(
        self, node: onnx.NodeProto, index: int, wanted: np.ndarray, indices: str | None
    ) -> onnx.NodeProto | None:
        """A node that picks the wanted channels of an input, or None if exactly those are there."""
        source = node.input[index]
        present = self.kept[source]
        if len(wanted) == len(present):
            return None
        made = f"{node.output[0]}.select" + (str(index + 1) if index else "")
        indices = indices or f"{made}.channels"
        set_tensor(self.graph, indices, np.searchsorted(present, wanted).astype(np.int64))
        gather = helper.make_node("Gather", [source, indices], [made], made, axis=1)
        gather.metadata_props.extend(node.metadata_props)
        node.input[index] = made
        return gather


def _inputs_read(mask: np.ndarray) -> np.ndarray:
    """Which input channels (features of a linear layer) a mask keeps any weight of, bool (in,)."""
    return np.asarray(mask.any(axis=(0, *range(2, mask.ndim))))
