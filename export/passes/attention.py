"""Attention as models write it: queries times keys, scaled, a softmax, times values → one Attention node.

torch's scaled_dot_product_attention, nn.MultiheadAttention and code of one's own differ in how heads are laid out and
where the scale is; the layouts of the three operands say the first, their factors the second. Positions in front of the
last two axes are windows, each of which attends to itself. See `beside_scores.py` for what is added to scores.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import onnx

from export.graph import attributes, set_tensor
from export.operators.attention import ATTENTION
from export.passes.beside_scores import added
from export.passes.layout import FEATURES, KEYS, POSITIONS, QUERIES, Atom, Axis, Layout, LayoutError, merged
from export.passes.rewriting import NoAttentionError, Rewriting, Scores


def scored(self: Rewriting, node: onnx.NodeProto) -> None:
    """A node of the way from queries and keys to what they attend to; raises LayoutError."""
    output, first = node.output[0], node.input[0]
    found = next((self.scores[name] for name in node.input if name in self.scores), None)
    if found is None:
        query, key = self.layout(first), self.layout(node.input[1])
        try:
            self.scores[output] = Scores(query, key, _between(query, key), product=output)
        except LayoutError as unfit:
            raise NoAttentionError(output) from unfit
    elif node.op_type == "MatMul" and first in self.scores and found.softened and node.input[1] in self.layouts:
        _attend(self, node, found, self.layout(node.input[1]))
    elif found.softened:
        raise LayoutError("attention has something between its softmax and the values")
    elif node.op_type in ("Reshape", "Squeeze", "Unsqueeze"):
        self.scores[output] = replace(found, layout=found.layout.regrouped(self.size(node)))
    elif node.op_type == "Softmax":
        last = len(found.layout.axes) - 1
        if int(attributes(node).get("axis", -1)) % (last + 1) != last or not found.layout.all_of(last, KEYS):
            raise LayoutError("a softmax is not over all keys")
        self.scores[output] = replace(found, softened=True)
    elif node.op_type == "Add":
        self.scores[output] = added(self, node, found)
    else:
        name = next(name for name in node.input if name in self.scores)
        number = self.number(node, name) if found.bias is None and found.mask is None else None
        if number is None:
            raise LayoutError("attention has something else between queries and keys than a scale, a bias and a mask")
        self.scores[output] = replace(found, factor=found.factor * number)


def _between(query: Layout, key: Layout) -> Layout:
    """The axes of queries times keys."""
    *front, asking, _ = query.axes
    if any(atom.kind != POSITIONS for atom in (*asking, *key.axes[-1])):
        raise LayoutError("attention is between something else than positions, such as channels")
    asked = tuple(replace(atom, kind=QUERIES) for atom in asking)
    return Layout("", (*front, asked, tuple(replace(atom, kind=KEYS) for atom in key.axes[-1])))


def _attend(self: Rewriting, node: onnx.NodeProto, scores: Scores, value: Layout) -> None:
    query = scores.query
    key = scores.key.transposed([*range(len(scores.key.axes) - 2), len(scores.key.axes) - 1, len(scores.key.axes) - 2])
    heads = {_heads(layout) for layout in (query, key, value)}
    if len(heads) != 1:
        raise LayoutError("queries, keys and values have different heads or windows, as where only some positions ask")
    ((count, windows),) = heads
    output, features = node.output[0], value.count(FEATURES)
    if query.count(FEATURES) != key.count(FEATURES):
        raise LayoutError("queries and keys have different features")
    inputs = [_packed(self, node, (query, key, value)), *_stored_beside(self, output, scores)]
    scale = scores.factor * query.factor * key.factor
    numbers = {"heads": count, "features": features, "scale": float(scale), "windows": windows}
    self.emit(ATTENTION, inputs, output, (features, *self.natives[inputs[0]][1:]), node, **numbers)
    # Whatever the order of the dimensions in front, the result's channels are those of the heads, one after the other.
    axes: list[Axis] = [
        tuple(Atom(FEATURES, atom.size) if atom.kind == FEATURES else atom for atom in axis) for axis in query.axes[:-1]
    ]
    axes.append(merged([Atom(FEATURES, features // count)]))
    self.layouts[output] = replace(Layout(output, tuple(axes)).over(output), factor=value.factor)


def _heads(layout: Layout) -> tuple[int, int]:
    """How many heads and windows a layout (..., positions, features of a head) has; raises LayoutError."""
    *before, positions, last = layout.axes
    front = [atom for axis in before for atom in axis]
    if any(atom.kind != POSITIONS for atom in positions) or any(atom.kind != FEATURES for atom in last):
        raise LayoutError("attention is between something else than positions")
    heads, windows = (prod(atom.size or 1 for atom in front if atom.kind == kind) for kind in (FEATURES, POSITIONS))
    return heads, windows


def _stored_beside(self: Rewriting, output: str, scores: Scores) -> list[str]:
    """The names of bias, places and mask as inputs, empty where there are none."""
    names = ["", "", ""]
    if scores.bias is not None:
        names[:2] = scores.bias[0], f"{output}.places"
        set_tensor(self.graph, names[1], scores.bias[1].astype(np.int64))
    if scores.mask is not None:
        names[2] = f"{output}.mask"
        set_tensor(self.graph, names[2], scores.mask.astype(np.float32))
    return names


def _packed(self: Rewriting, node: onnx.NodeProto, parts: tuple[Layout, Layout, Layout]) -> str:
    """One value with the channels of queries, keys and values behind one another."""
    sources = {part.source for part in parts}
    listed = np.concatenate([part.places(FEATURES) for part in parts])
    for part in parts:
        if not np.array_equal(part.places(POSITIONS), np.arange(prod(self.natives[part.source][1:]))):
            raise LayoutError("attention is over some of the positions only, or over windows in another order")
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
