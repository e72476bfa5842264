"""How the channels that a node writes follow from those it reads: what channel sparsity can take away around it.

Backwards, `ask` passes on which channels are wanted; forwards, `written` says which are there, and `shrink` cuts the
node's own parameters and picks from its inputs what it takes.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import onnx

CHANNELS = ".channels"  # how the name of a Gather's indices ends


class Channels(Protocol):
    """A graph whose channels are being taken away."""

    weights: dict[str, np.ndarray]
    sizes: dict[str, tuple[int | None, ...]]
    read: dict[str, np.ndarray]  # by weight of a sparse layer: which input channels it reads
    kept: dict[str, np.ndarray]  # by value: its channels that are there, ascending

    def count(self, value: str) -> int:
        """Channels of a value before any was taken away; 0 where it has none."""

    def need(self, value: str, channels: np.ndarray | None) -> None:
        """Some reader wants these channels of a value (bool per channel; None: all)."""

    def cut(self, name: str, outputs: np.ndarray, inputs: np.ndarray | None = None) -> None:
        """Cut a stored tensor to these output channels, and input channels (None: all)."""

    def offered(self, weight: str, present: np.ndarray) -> None:
        """Note that a cut weight's layer picks its inputs from these channels."""

    def gather(
        self, node: onnx.NodeProto, index: int, wanted: np.ndarray, indices: str | None = None
    ) -> list[onnx.NodeProto]:
        """The node that picks the wanted channels of an input, where others are there as well."""

    def pick(self, node: onnx.NodeProto, indices: np.ndarray) -> None:
        """Make the node a Gather of these of its first input's channels."""


class Relation:
    """A node whose channels are not understood: it wants and writes all of them."""

    def ask(self, node: onnx.NodeProto, graph: Channels, wanted: np.ndarray) -> None:
        """Say which channels of the node's inputs are needed, where `wanted` (bool) are needed of its first output."""
        for name in node.input:
            if name and name not in graph.weights:
                graph.need(name, None)

    def written(self, node: onnx.NodeProto, graph: Channels, wanted: np.ndarray) -> np.ndarray:
        """The channels of its first output that will be there, ascending."""
        return np.arange(graph.count(node.output[0]))

    def shrink(self, node: onnx.NodeProto, graph: Channels) -> list[onnx.NodeProto]:
        """Cut the node's parameters to what is kept; return the Gathers that must run before it."""
        return []


class Channelwise(Relation):
    """Channel c of the output follows from channel c of the first `values` inputs; the rest is stored by channel."""

    def __init__(self, values: int = 1, stored: bool = False) -> None:
        self.values, self.stored = values, stored

    def ask(self, node: onnx.NodeProto, graph: Channels, wanted: np.ndarray) -> None:
        """The same of every input."""
        for name in node.input[: self.values]:
            if name not in graph.weights:
                graph.need(name, wanted)

    def written(self, node: onnx.NodeProto, graph: Channels, wanted: np.ndarray) -> np.ndarray:
        """Those that are wanted."""
        return np.flatnonzero(wanted)

    def shrink(self, node: onnx.NodeProto, graph: Channels) -> list[onnx.NodeProto]:
        """Its vectors or filters lose the others."""
        outputs = graph.kept[node.output[0]]
        for name in node.input[self.values :] if self.stored else ():
            graph.cut(name, outputs)
        computed = [index for index in range(self.values) if node.input[index] not in graph.weights]
        return [made for index in computed for made in graph.gather(node, index, outputs)]


class Layer(Relation):
    """Every output channel follows from all channels that the layer reads: its weight is input 1, vectors follow."""

    def ask(self, node: onnx.NodeProto, graph: Channels, wanted: np.ndarray) -> None:
        """Those that the weight reads; all of a layer that is not sparse."""
        if node.input[0] not in graph.weights:
            graph.need(node.input[0], graph.read.get(node.input[1]))

    def written(self, node: onnx.NodeProto, graph: Channels, wanted: np.ndarray) -> np.ndarray:
        """Those that are wanted."""
        return np.flatnonzero(wanted)

    def shrink(self, node: onnx.NodeProto, graph: Channels) -> list[onnx.NodeProto]:
        """The weight loses filters that nobody wants and inputs that it does not read."""
        weight, outputs = node.input[1], graph.kept[node.output[0]]
        present = graph.kept[node.input[0]]
        read: np.ndarray = np.flatnonzero(graph.read[weight]) if weight in graph.read else present
        wanted = read if len(read) else present[:1]
        graph.cut(weight, outputs, wanted)
        if len(wanted) != len(present):
            graph.offered(weight, present)
        for name in node.input[2:]:
            graph.cut(name, outputs)
        return graph.gather(node, 0, wanted, f"{weight}{CHANNELS}")


class TransposedLayer(Layer):
    """A layer whose weight, input 1, has its input channels first; it is never channel-sparse and reads all of them."""

    def shrink(self, node: onnx.NodeProto, graph: Channels) -> list[onnx.NodeProto]:
        """The weight loses outputs that nobody wants."""
        outputs, present = graph.kept[node.output[0]], graph.kept[node.input[0]]
        graph.cut(node.input[1], present, outputs)
        for name in node.input[2:]:
            graph.cut(name, outputs)
        return []


class Flattening(Relation):
    """Every channel of the input becomes as many features as it has pixels."""

    def ask(self, node: onnx.NodeProto, graph: Channels, wanted: np.ndarray) -> None:
        """A channel is wanted if any of its features is."""
        name = node.input[0]
        if name not in graph.weights:
            graph.need(name, np.any(wanted.reshape(graph.count(name), -1), axis=1))

    def written(self, node: onnx.NodeProto, graph: Channels, wanted: np.ndarray) -> np.ndarray:
        """All features of the channels that are there."""
        source = node.input[0]
        each = graph.count(node.output[0]) // max(1, graph.count(source))
        return np.asarray(graph.kept[source][:, None] * each + np.arange(each)).reshape(-1)


class Joining(Relation):
    """The channels of all inputs one after the other, of each at least one."""

    def ask(self, node: onnx.NodeProto, graph: Channels, wanted: np.ndarray) -> None:
        """Of each input those of its stretch."""
        for name, part in zip(node.input, self._parts(node, graph, wanted), strict=True):
            graph.need(name, part)

    def written(self, node: onnx.NodeProto, graph: Channels, wanted: np.ndarray) -> np.ndarray:
        """Those that are wanted, and the first of a stretch of which none is."""
        return np.flatnonzero(np.concatenate(self._parts(node, graph, wanted)))

    def shrink(self, node: onnx.NodeProto, graph: Channels) -> list[onnx.NodeProto]:
        """Each input's are picked where others are there as well."""
        kept = np.zeros(graph.count(node.output[0]), bool)
        kept[graph.kept[node.output[0]]] = True
        parts = [np.flatnonzero(part) for part in self._parts(node, graph, kept)]
        return [made for index, part in enumerate(parts) for made in graph.gather(node, index, part)]

    @staticmethod
    def _parts(node: onnx.NodeProto, graph: Channels, wanted: np.ndarray) -> list[np.ndarray]:
        ends = np.cumsum([graph.count(name) for name in node.input])
        parts = [part.copy() for part in np.split(wanted, ends[:-1])]
        for part in parts:
            part[0] |= not part.any()
        return parts


class Picking(Relation):
    """The listed channels of the input, in their order."""

    def __init__(self, listed: np.ndarray) -> None:
        self.listed = listed

    def ask(self, node: onnx.NodeProto, graph: Channels, wanted: np.ndarray) -> None:
        """Those behind the wanted ones."""
        found = np.zeros(graph.count(node.input[0]), bool)
        found[self.listed[wanted]] = True
        graph.need(node.input[0], found)

    def written(self, node: onnx.NodeProto, graph: Channels, wanted: np.ndarray) -> np.ndarray:
        """Those that are wanted."""
        return np.flatnonzero(wanted)

    def shrink(self, node: onnx.NodeProto, graph: Channels) -> list[onnx.NodeProto]:
        """The node becomes a Gather where channels of its input or output are gone."""
        outputs, present = graph.kept[node.output[0]], graph.kept[node.input[0]]
        if len(outputs) != len(self.listed) or len(present) != graph.count(node.input[0]):
            graph.pick(node, np.searchsorted(present, self.listed[outputs]))
        return []


class Spreading(Relation):
    """A stored vector along the channels of what it stands beside."""

    def ask(self, node: onnx.NodeProto, graph: Channels, wanted: np.ndarray) -> None:
        """Nothing of any value."""

    def written(self, node: onnx.NodeProto, graph: Channels, wanted: np.ndarray) -> np.ndarray:
        """Those that are wanted."""
        return np.flatnonzero(wanted)

    def shrink(self, node: onnx.NodeProto, graph: Channels) -> list[onnx.NodeProto]:
        """The vector loses the others."""
        graph.cut(node.input[0], graph.kept[node.output[0]])
        return []


UNKNOWN = Relation()
CHANNELWISE = Channelwise()
LAYER = Layer()
SPREADING = Spreading()
TRANSPOSED_LAYER = TransposedLayer()
