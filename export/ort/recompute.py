"""The backward pass of a training graph recomputes the inside of each block from the block's input.

A block lies between two values through which every path from the images to the loss leads: the input and the output of
a residual block, or of a run of layers where nothing branches. Only those values stay until the backward pass. When the
gradient of a block's output arrives, copies of the block's nodes make what its gradients read, from the block's input.

Three things keep it the same training and in its place:

- a batch norm is not run again: its copy scales and shifts by the mean and deviation that the first pass saved, and
  running statistics move once. It multiplies and adds, in the order of the first pass, and does nothing else: those two
  round alike on every processor, while onnxruntime's square root starts from an approximation of the processor's own
  (`rsqrtps`, other bits from another maker), and the root of 1 is not always 1;
- the copies read the block's input through a `PassThrough` (no copy, it hands both inputs on) that also takes the
  gradient of the block's output, so that they cannot run before it is there;
- that value has another name, so that no optimizer of onnxruntime takes copy and original for the same computation.

The last block is left as it is: its backward pass begins where its forward pass ends.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np
import onnx
from onnx import helper

from edge.network.network import INPUT
from export.graph import producers, set_tensor

HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
AGAIN, HELD = ".again", ".held"
MAX_LIMITS = 64  # sizes of the largest block that are tried


@dataclass(frozen=True)
class Cut:
    """A value through which all of the forward pass leads, and the place in the chain of the node that makes it."""

    place: int
    value: str


def recompute_blocks(
    training: onnx.ModelProto, sizes: Mapping[str, Sequence[int | None]], ends: Container[str]
) -> tuple[tuple[str, str], ...]:
    """Make the backward pass recompute every block but the last, in place; return the values between which they lie.

    `sizes` are the shapes of forward values, None for the batch; `ends` are those where a block may end. Requires a
    graph as `training_graphs` gives it, the loss and the logits its first two outputs. Ensures the same outputs and
    gradients up to rounding: every copy is given what its original was given, and nothing in onnxruntime promises that
    it then answers with the same bits. A block that nothing is trained in or before is left as it is, and so is a model
    without a value through which everything leads.
    """
    chain = _Chain(training.graph, sizes, ends)
    bounds = chain.blocks()
    blocks = [_Block(training.graph, chain, start, end) for start, end in pairwise(bounds[:-1])]
    recomputed = tuple((block.start, block.end) for block in blocks if block.recompute())
    _sort(training.graph)
    return recomputed


class _Chain:
    """The forward nodes that work on images, in order, and where the graph can be cut."""

    def __init__(self, graph: onnx.GraphProto, sizes: Mapping[str, Sequence[int | None]], ends: Container[str]) -> None:
        forward = _forward(graph, [output.name for output in graph.output[:2]])
        self.nodes: list[onnx.NodeProto] = []
        self.made = {INPUT: -1}  # by value: the place of its node
        self.backward = {name for node in graph.node if _name(node) not in forward for name in node.input}
        last: dict[str, int] = {}
        for node in graph.node:
            reads = [name for name in node.input if name in self.made]
            if _name(node) not in forward or node.op_type == "Shape" or not reads:
                continue
            last.update(dict.fromkeys(reads, len(self.nodes)))
            outputs = node.output[:1] if node.op_type == "BatchNormInternal" else node.output
            self.made.update(dict.fromkeys([name for name in outputs if name], len(self.nodes)))
            self.nodes.append(node)
        self.rank = {name: len(size) for name, size in sizes.items()}
        self.bytes = {
            name: 4 * prod(int(size or 1) for size in sizes[name]) for name in self.made if sizes.get(name) is not None
        }
        end = len(self.nodes)
        read = {name: last.get(name, -1) for name in self.made} | {output.name: end for output in graph.output[:2]}
        self.cuts = [Cut(-1, INPUT)]
        for place in range(end - 1):
            live = [name for name, made in self.made.items() if made <= place < read[name]]
            if len(live) == 1 and live[0] in ends:
                self.cuts.append(Cut(place, live[0]))
        self.cuts.append(Cut(end - 1, graph.output[0].name))

    def inside(self, start: Cut, end: Cut) -> list[str]:
        """The values between two cuts that gradients read, the second cut's own left out."""
        return [
            name
            for node in self.nodes[start.place + 1 : end.place + 1]
            for name in node.output
            if name in self.made and name in self.backward and name != end.value
        ]

    def blocks(self) -> list[Cut]:
        """The cuts that need the fewest bytes at once: all that are kept, and the inside of the largest block.

        For each size that the largest block may have, the cheapest way through the cuts; of equal ones the way that
        repeats the fewest convolutions and products.
        """
        cuts = self.cuts
        weight = [sum(self.bytes.get(name, 0) for name in self.inside(cuts[0], cut)) for cut in cuts]
        count = np.cumsum([node.op_type in HEAVY for node in self.nodes])
        heavy = [int(count[cut.place]) if cut.place >= 0 else 0 for cut in cuts]
        own = [self.bytes.get(cut.value, 0) for cut in cuts]
        own[-1] = 0
        before = [
            size + (mine if cut.value in self.backward else 0)
            for size, mine, cut in zip(weight, own, cuts, strict=True)
        ]

        def within(first: int, second: int) -> int:
            return weight[second] - before[first]

        sizes = sorted({within(i, j) for j in range(1, len(cuts)) for i in range(j)})
        sizes = sizes[bisect_left(sizes, max(within(i, i + 1) for i in range(len(cuts) - 1))) :]
        best: tuple[tuple[int, int], list[int]] | None = None
        for limit in sizes[:: max(1, len(sizes) // MAX_LIMITS)]:
            ways: list[tuple[int, int, list[int]]] = [(0, 0, [0])]
            for j in range(1, len(cuts)):
                last = j == len(cuts) - 1
                made_here = self.nodes[cuts[j].place].op_type in HEAVY
                found = min(
                    (ways[i][0] + own[j], ways[i][1] + (0 if last else heavy[j] - heavy[i] - made_here), -i)
                    for i in range(j)
                    if within(i, j) <= limit
                )
                ways.append((found[0], found[1], [*ways[-found[2]][2], j]))
            cost = (ways[-1][0] + limit, ways[-1][1])
            if best is None or cost < best[0]:
                best = (cost, ways[-1][2])
        assert best is not None  # the smallest limit lets every cut stand alone
        return [cuts[number] for number in best[1]]


class _Block:
    """One block's copies."""

    def __init__(self, graph: onnx.GraphProto, chain: _Chain, start: Cut, end: Cut) -> None:
        self.graph = graph
        self.nodes = chain.nodes[start.place + 1 : end.place + 1]
        self.start, self.end = start.value, end.value
        self.wanted = set(chain.inside(start, end))
        self.rank = chain.rank
        self.originals = {_name(node) for node in chain.nodes}

    def recompute(self) -> bool:
        """Add the copies and make the gradients read them; False if there is nothing that could be dropped."""
        gradient = f"{self.end}_grad"
        if not self.wanted or gradient not in producers(self.graph):
            return False
        needed: set[str] = set(self.wanted)
        again: list[onnx.NodeProto] = []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                again.append(node)
        inside = {name for node in again for name in node.output} | {self.start}
        held = [self.start + HELD, f"{gradient}{HELD}.{self.start}"]
        copies = [
            helper.make_node("PassThrough", [self.start, gradient], held, self.start + HELD, domain="com.microsoft")
        ]
        for node in reversed(again):
            copies.extend(self._copied(node, inside))
        for node in self.graph.node:
            if _name(node) not in self.originals and self.wanted.intersection(node.input):
                for index, name in enumerate(node.input):
                    if name in self.wanted:
                        node.input[index] = name + AGAIN
        self.graph.node.extend(copies)
        return True

    def _copied(self, node: onnx.NodeProto, inside: set[str]) -> list[onnx.NodeProto]:
        def renamed(name: str) -> str:
            return self.start + HELD if name == self.start else name + AGAIN if name in inside else name

        if node.op_type == "BatchNormInternal":
            return self._normalised(node, renamed(node.input[0]))
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = node.name + AGAIN
        copy.input[:] = [renamed(name) for name in node.input]
        copy.output[:] = [name + AGAIN if name else "" for name in node.output]
        return [copy]

    def _normalised(self, node: onnx.NodeProto, source: str) -> list[onnx.NodeProto]:
        """A batch norm's output from its saved statistics: x · f + (shift − mean · f), f = scale / deviation."""
        _, scale, shift, *_ = node.input
        value, _, _, mean, inverse = node.output
        result = value + AGAIN
        upright = f"{result}.upright"
        set_tensor(self.graph, upright, np.array([-1] + [1] * (self.rank[value] - 2), np.int64))  # beside (n, c, ...)
        steps = [
            ("Mul", [inverse, scale], "factor"),
            ("Mul", [mean, f"{result}.factor"], "moved"),
            ("Sub", [shift, f"{result}.moved"], "offset"),
            ("Reshape", [f"{result}.factor", upright], "factors"),
            ("Reshape", [f"{result}.offset", upright], "offsets"),
            ("Mul", [source, f"{result}.factors"], "scaled"),
        ]
        nodes = [helper.make_node(kind, read, [f"{result}.{made}"], f"{result}.{made}") for kind, read, made in steps]
        return [*nodes, helper.make_node("Add", [f"{result}.scaled", f"{result}.offsets"], [result], result)]


def _name(node: onnx.NodeProto) -> str:
    """The first value that a node makes; gradients that nobody wants have no name."""
    return next(name for name in node.output if name)


def _forward(graph: onnx.GraphProto, results: Sequence[str]) -> set[str]:
    """Names of the nodes that the results depend on."""
    needed, found = set(results), set()
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            found.add(_name(node))
    return found


def _sort(graph: onnx.GraphProto) -> None:
    """Put every node behind those that make its inputs, otherwise in the present order."""
    makers = producers(graph)
    ordered: list[onnx.NodeProto] = []
    done: set[str] = set()
    for root in graph.node:
        stack = [(root, False)]
        while stack:
            node, ready = stack.pop()
            if _name(node) in done:
                continue
            if ready:
                done.add(_name(node))
                ordered.append(node)
                continue
            stack.append((node, True))
            stack.extend((makers[name], False) for name in reversed(node.input) if name in makers)
    copies = []
    for node in ordered:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copies.append(copy)
    del graph.node[:]
    graph.node.extend(copies)
