"""Attention as models write it: queries times keys, scaled, a softmax, times values → one Attention node.

torch's scaled_dot_product_attention, nn.MultiheadAttention and code of one's own differ in how heads are laid out and
where the scale is; the layouts of the three operands say the first, their factors the second.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import onnx

from export.graph import attributes, set_tensor
from export.operators.attention import ATTENTION
from export.passes.layout import FEATURES, POSITIONS, Atom, Axis, Layout, LayoutError, merged
from export.passes.rewriting import Rewriting, Scores


def scored(self: Rewriting, node: onnx.NodeProto) -> None:
    """A node of the way from queries and keys to what they attend to; raises LayoutError."""
    output, first = node.output[0], node.input[0]
    found = next((self.scores[name] for name in node.input if name in self.scores), None)
    if found is None:
        self.scores[output] = Scores(self.layout(first), self.layout(node.input[1]))
        return
    if node.op_type == "MatMul" and first in self.scores and found.softened and node.input[1] in self.layouts:
        _attend(self, node, found, self.layout(node.input[1]))
        return
    if node.op_type == "Softmax" and not found.softened:
        rank = len(found.query.axes)
        if int(attributes(node).get("axis", -1)) % rank != rank - 1:
            raise LayoutError("a softmax is not over all keys")
        self.scores[output] = replace(found, softened=True)
        return
    name = next(name for name in node.input if name in self.scores)
    number = None if found.softened else self.number(node, name)
    if number is None:
        raise LayoutError("attention has more between queries, keys and values than a scale: a mask, a bias, gates")
    self.scores[output] = replace(found, factor=found.factor * number)


def _attend(self: Rewriting, node: onnx.NodeProto, scores: Scores, value: Layout) -> None:
    query = scores.query
    key = scores.key.transposed([*range(len(scores.key.axes) - 2), len(scores.key.axes) - 1, len(scores.key.axes) - 2])
    heads = {_heads(layout) for layout in (query, key, value)}
    if len(heads) != 1:
        raise LayoutError("queries, keys and values have different heads")
    (count,) = heads
    output, features = node.output[0], value.count(FEATURES)
    if query.count(FEATURES) != key.count(FEATURES):
        raise LayoutError("queries and keys have different features")
    source = _packed(self, node, (query, key, value))
    scale = scores.factor * query.factor * key.factor
    shape = (features, *self.natives[source][1:])
    self.emit(ATTENTION, [source], output, shape, node, heads=count, features=features, scale=float(scale))
    # Whatever the order of the dimensions in front, the result's channels are those of the heads, one after the other.
    axes: list[Axis] = [
        tuple(Atom(FEATURES, atom.size) if atom.kind == FEATURES else atom for atom in axis) for axis in query.axes[:-1]
    ]
    axes.append(merged([Atom(FEATURES, features // count)]))
    self.layouts[output] = replace(Layout(output, tuple(axes)).over(output), factor=value.factor)


def _heads(layout: Layout) -> int:
    """How many heads a layout (..., positions, features of a head) has; raises LayoutError."""
    *before, positions, last = layout.axes
    front = [atom for axis in before for atom in axis]
    numbers = [number for number in layout.axes_of(POSITIONS) if number != len(before)]
    if numbers or any(atom.kind != POSITIONS for atom in positions) or any(atom.kind != FEATURES for atom in last):
        raise LayoutError("attention is over something else than all positions, such as windows of an image")
    return prod(atom.size or 1 for atom in front if atom.kind == FEATURES)


def _packed(self: Rewriting, node: onnx.NodeProto, parts: tuple[Layout, Layout, Layout]) -> str:
    """One value with the channels of queries, keys and values behind one another."""
    sources = {part.source for part in parts}
    listed = np.concatenate([part.places(FEATURES) for part in parts])
    for part in parts:
        if not np.array_equal(part.places(POSITIONS), np.arange(prod(self.natives[part.source][1:]))):
            raise LayoutError("attention is over some of the positions only, or over windows of them")
    name = f"{node.output[0]}.input"
    if len(sources) == 1 and len(set(listed.tolist())) == len(listed):
        (source,) = sources
        channels, *positions = self.natives[source]
        if np.array_equal(listed, np.arange(channels)):
            return source
        set_tensor(self.graph, f"{name}.channels", listed.astype(np.int64))
        return self.emit("Gather", [source, f"{name}.channels"], name, (len(listed), *positions), node, axis=1)
    plain = [
        self.whole(replace(part, factor=1.0), node, f"{name}.{role}").source
        for role, part in zip(("query", "key", "value"), parts, strict=True)
    ]
    shapes = {self.natives[source][1:] for source in plain}
    if len(shapes) != 1:
        raise LayoutError("queries, keys and values have different positions")
    total = sum(self.natives[source][0] for source in plain)
    return self.emit("Concat", plain, name, (total, *next(iter(shapes))), node, axis=1)
