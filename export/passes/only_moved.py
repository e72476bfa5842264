"""Nodes that only move numbers: what becomes of the layout of a value. Handlers of `channels_first`."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx

from export.graph import attributes
from export.passes.layout import FEATURES, POSITIONS, Layout, LayoutError, Size
from export.passes.rewriting import Rewriting, plainly


def transpose(self: Rewriting, node: onnx.NodeProto) -> None:
    """An axis order."""
    layout = self.layout(node.input[0])
    order = attributes(node).get("perm", list(reversed(range(len(layout.axes)))))
    self.moved(node, layout.transposed(order))


def reshape(self: Rewriting, node: onnx.NodeProto) -> None:
    """The same numbers in other axes."""
    if node.op_type == "Flatten" and self.all_plain(node):
        plainly(self, node)
        return
    layout, size = self.layout(node.input[0]), self.size(node)
    if size.count(None) > 1:
        size = _asked_size(self, node, layout)
    self.moved(node, layout.regrouped(size))


def _asked_size(self: Rewriting, node: onnx.NodeProto, layout: Layout) -> tuple[Size, ...]:
    """The shape that a Reshape is asked for in parts: numbers, the number of images, and -1 for what is left."""
    joined = self.makers.get(node.input[1])
    names = list(joined.input) if joined is not None and joined.op_type == "Concat" else []
    parts = [self.constants.get(name) for name in names]
    asked = [None if part is None else int(part.reshape(-1)[0]) for part in parts]
    images = [name for name, part in zip(names, parts, strict=True) if part is None]
    times = _times_images(self, images[0]) if len(images) == 1 and asked.count(-1) == 1 else None
    if times is None:
        raise LayoutError("two of its dimensions are not fixed")
    known = times * prod(size for size in asked if size not in (None, -1))
    rest = layout.count(FEATURES) * layout.count(POSITIONS) // known if known else 0
    return tuple(rest if size == -1 else size for size in asked)


def _times_images(self: Rewriting, name: str) -> int | None:
    """By what the number of images is multiplied, where that is all that a value is: taken from a shape, passed on."""
    times, maker = 1, self.makers.get(name)
    while maker is not None and maker.op_type in ("Reshape", "Squeeze", "Unsqueeze", "Cast", "Mul"):
        source = maker.input[0]
        if maker.op_type == "Mul":
            stored = [self.constants[one] for one in maker.input if one in self.constants]
            if len(stored) != 1 or stored[0].size != 1:
                return None
            times *= int(stored[0].reshape(-1)[0])
            (source,) = (one for one in maker.input if one not in self.constants)
        maker = self.makers.get(source)
    return times if maker is not None and maker.op_type == "Shape" and attributes(maker).get("end") == 1 else None


def squeeze(self: Rewriting, node: onnx.NodeProto) -> None:
    """Axes of one that go or come."""
    layout, listed = self.layout(node.input[0]), self.constants.get(node.input[1]) if len(node.input) > 1 else None
    if listed is None:
        self.moved(node, layout.regrouped(self.size(node)))
        return
    fewer = node.op_type == "Squeeze"
    rank = len(layout.axes) + (0 if fewer else listed.size)
    axes = sorted({int(axis) % rank for axis in listed.reshape(-1)}, reverse=fewer)
    for axis in axes:
        if fewer and layout.axes[axis]:
            raise LayoutError("it drops an axis of more than one")
        layout = layout.without(axis) if fewer else layout.with_one(axis)
    self.moved(node, layout)


def gather(self: Rewriting, node: onnx.NodeProto) -> None:
    """One entry of an axis."""
    layout, index = self.layout(node.input[0]), self.constants.get(node.input[1])
    axis = int(attributes(node).get("axis", 0)) % len(layout.axes)
    if index is None or index.size != 1 or index.ndim > 1 or (index.ndim == 1 and self.all_plain(node)):
        plainly(self, node)
        return
    at = int(index.reshape(-1)[0])
    count = prod(atom.size or 1 for atom in layout.axes[axis])
    taken = layout.taken(axis, at % count, 1)
    self.moved(node, taken if index.ndim else taken.without(axis))


def cut(self: Rewriting, node: onnx.NodeProto) -> None:
    """A stretch of an axis, in steps."""
    layout = self.layout(node.input[0])
    bounds = [self.constants.get(name) for name in node.input[1:]]
    if len(bounds) < 3 or any(bound is None or bound.size != 1 for bound in bounds):
        raise LayoutError("its bounds are not stored, or of several axes")
    first, end, axis, *step = (int(bound.reshape(-1)[0]) for bound in bounds if bound is not None)
    axis %= len(layout.axes)
    if self.all_plain(node) and axis == 1:
        plainly(self, node)
        return
    if any(atom.size is None for atom in layout.axes[axis]):
        raise LayoutError("it cuts the dimension of the images")
    length = prod(atom.size or 1 for atom in layout.axes[axis])
    by = step[0] if step else 1
    kept = np.arange(length)[first : None if by < 0 and end < -length else end : by]
    if not len(kept):
        raise LayoutError("nothing is left")
    if len(layout.axes[axis]) > 1 and layout.all_of(axis, FEATURES):  # shuffled: in their order they are one stretch
        layout = self.whole(layout, node, f"{node.output[0]}.input")
    self.moved(node, layout.taken(axis, int(kept[0]), len(kept), by))
