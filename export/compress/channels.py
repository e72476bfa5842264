"""Channel sparsity becomes a physically smaller network: filters that nobody reads go, the rest is gathered.

Backwards through the graph, every value learns which of its channels some layer reads: a channel-sparse layer reads its
kept input channels, other layers all of them; batch norm, activations, pooling, depthwise convolutions and sums pass
the question on to their inputs. Forwards, each maker then writes only those channels. Where a reader wants fewer than
are there (the other branch of a residual sum reads more), a Gather in front of it picks its own. Outputs are unchanged:
what is removed was multiplied by zero or read by nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from export.graph import consumers, set_tensor, shapes, tensors
from export.kept import Kept
from export.operators.elementwise import elementwise
from export.operators.registry import rule_of
from export.operators.relation import CHANNELS, UNKNOWN, Relation
from export.sparse_layer import SparseLayer


def compact(model: onnx.ModelProto, layers: Mapping[str, SparseLayer]) -> dict[str, Kept]:
    """Make the network physically smaller, in place; return what was kept of every parameter that shrank.

    `layers` are the channel-sparse ones, by weight name. Requires a normalised graph. Ensures equal outputs, and that a
    layer behind a Gather names its indices `<weight>.channels`.
    """
    return _Compaction(model, layers).run() if layers else {}


class _Compaction:
    """The `Channels` that the relations of nodes ask."""

    def __init__(self, model: onnx.ModelProto, layers: Mapping[str, SparseLayer]) -> None:
        self.graph = model.graph
        self.sizes = shapes(model)
        self.weights = tensors(model.graph)
        readers = consumers(model.graph)
        arrays = {name for name, array in self.weights.items() if array.size > 1}
        self.shared = {name for name in arrays if len(readers.get(name, ())) > 1}
        self.read = {name: _inputs_read(layer.mask) for name, layer in layers.items()}
        self.needed: dict[str, np.ndarray] = {}
        self.kept: dict[str, np.ndarray] = {}
        self.changed: dict[str, Kept] = {}

    def run(self) -> dict[str, Kept]:
        for output in self.graph.output:
            self.need(output.name, None)
        for node in reversed(self.graph.node):
            self._ask_inputs(node)
        for value in self.graph.input:
            self.kept[value.name] = np.arange(self.count(value.name))
        nodes: list[onnx.NodeProto] = []
        for node in self.graph.node:
            relation = self._relation(node)
            first, *others = node.output
            self.kept[first] = relation.written(node, self, self.needed[first])
            self.kept.update({name: np.arange(self.count(name)) for name in others})
            nodes.extend(relation.shrink(node, self))
            nodes.append(node)
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        del self.graph.value_info[:]
        return self.changed

    def _relation(self, node: onnx.NodeProto) -> Relation:
        if any(name in self.shared for name in node.input):
            return UNKNOWN  # cut for one reader, it would not fit the others
        rule = rule_of(node)
        return elementwise(node, self) if rule is None else rule.relation(node, self)

    def _ask_inputs(self, node: onnx.NodeProto) -> None:
        wanted: np.ndarray = self.needed.setdefault(node.output[0], np.zeros(self.count(node.output[0]), bool))
        if len(wanted) and not wanted.any():
            wanted[0] = True  # a value without channels does not exist
        self._relation(node).ask(node, self, wanted)

    def count(self, value: str) -> int:
        """Channels of a value before any was taken away; 0 where it has none."""
        size = self.sizes.get(value, ())
        return int(size[1] or 0) if len(size) > 1 else 0

    def need(self, value: str, channels: np.ndarray | None) -> None:
        """Some reader wants these channels of a value (bool per channel; None: all)."""
        every = np.ones(self.count(value), bool)
        wanted: np.ndarray = self.needed.get(value, ~every) | (every if channels is None else channels)
        self.needed[value] = wanted

    def offered(self, weight: str, present: np.ndarray) -> None:
        """Note that a cut weight's layer picks its inputs from these channels."""
        self.changed[weight] = replace(self.changed[weight], offered=present)

    def cut(self, name: str, outputs: np.ndarray, inputs: np.ndarray | None = None) -> None:
        """Cut a stored tensor to these output channels, and input channels (None: all)."""
        array = self.weights[name]
        whole_out = len(outputs) == array.shape[0]
        whole_in = inputs is None or len(inputs) == array.shape[1]
        if whole_out and whole_in:
            return
        self.changed[name] = Kept(None if whole_out else outputs, None if whole_in else inputs)
        cut = array[outputs] if inputs is None else array[outputs][:, inputs]
        set_tensor(self.graph, name, cut)

    def gather(
        self, node: onnx.NodeProto, index: int, wanted: np.ndarray, indices: str | None = None
    ) -> list[onnx.NodeProto]:
        """The node that picks the wanted channels of an input, where others are there as well."""
        source = node.input[index]
        present = self.kept[source]
        if len(wanted) == len(present):
            return []
        made = f"{node.output[0]}.select" + (str(index + 1) if index else "")
        indices = indices or f"{made}{CHANNELS}"
        set_tensor(self.graph, indices, np.searchsorted(present, wanted).astype(np.int64))
        gather = helper.make_node("Gather", [source, indices], [made], made, axis=1)
        gather.metadata_props.extend(node.metadata_props)
        node.input[index] = made
        return [gather]

    def pick(self, node: onnx.NodeProto, indices: np.ndarray) -> None:
        """Make the node a Gather of these of its first input's channels."""
        name = f"{node.output[0]}{CHANNELS}"
        set_tensor(self.graph, name, indices.astype(np.int64))
        source = node.input[0]
        del node.input[:], node.attribute[:]
        node.input.extend([source, name])
        node.op_type = "Gather"
        node.attribute.append(helper.make_attribute("axis", 1))


def _inputs_read(mask: np.ndarray) -> np.ndarray:
    """Which input channels (features of a linear layer) a mask keeps any weight of, bool (in,)."""
    return np.asarray(mask.any(axis=(0, *range(2, mask.ndim))))
