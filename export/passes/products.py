"""Products of two values, softmax, means and sums along any axes, and padding, wherever their channels lie.

Handlers of `channels_first`. Attention of one step is in `attention.py`; what it cannot be comes here, node by node.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx

from export.graph import attributes, set_tensor
from export.operators.products import PRODUCT, SOFTMAX
from export.passes.layout import FEATURES, IMAGES, POSITIONS, Atom, Axis, Layout, LayoutError, merged
from export.passes.rewriting import Rewriting

REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceL2")


def multiply(self: Rewriting, node: onnx.NodeProto) -> None:
    """A matrix product for each entry of the axes in front, or of all of them with one matrix."""
    names = [f"{node.output[0]}.{role}" for role in ("first", "second")]
    first, second = (self.whole(self.layout(value), node, name) for value, name in zip(node.input, names, strict=True))
    *front, rows, inner = (_count(axis) for axis in first.axes)
    *others, depth, columns = (_count(axis) for axis in second.axes)
    shared = prod(others) == 1 and prod(front) > 1  # keys and values that all heads read
    if inner != depth or (not shared and (front != others or len(first.axes) != len(second.axes))):
        raise LayoutError("it multiplies values whose other axes differ")
    channels, rows_of_each = (1, prod(front) * rows) if shared else (prod(front), rows)
    one, left = _matrix(self, first, (channels, rows_of_each, inner), node, names[0], may_turn=not shared)
    two, right = _matrix(self, second, (channels, inner, columns), node, names[1])
    output = node.output[0]
    self.emit(PRODUCT, [one, two], output, (channels, rows_of_each, columns), node, turned=[int(left), int(right)])
    kind = POSITIONS if shared else FEATURES
    axes = [_of(axis, kind) for axis in first.axes[:-2]]
    axes += [_of(first.axes[-2], POSITIONS), merged([Atom(POSITIONS, columns)])]
    self.layouts[output] = Layout(output, tuple(axes)).over(output)


def _matrix(
    self: Rewriting, layout: Layout, shape: tuple[int, int, int], node: onnx.NodeProto, name: str, may_turn: bool = True
) -> tuple[str, bool]:
    """A value as matrices of that shape, or turned ones where they lie that way already; and whether they are."""
    order = list(range(len(layout.axes)))
    turned = [*order[:-2], order[-1], order[-2]]
    channels, rows, columns = shape
    if may_turn and self.moves(layout, order) and not self.moves(layout, turned):
        return self.seen_as(layout.source, (channels, columns, rows), node, f"{name}.turned"), True
    return self.seen_as(self.ordered(layout, order, node, name), shape, node, f"{name}.matrix"), False


def soften(self: Rewriting, node: onnx.NodeProto) -> None:
    """A softmax along one axis."""
    layout = self.layout(node.input[0])
    axis = int(attributes(node).get("axis", -1)) % len(layout.axes)
    others = [number for number in range(len(layout.axes)) if number != axis]
    if any(atom.kind == IMAGES for atom in layout.axes[axis]):
        raise LayoutError("it is over the images")
    found, output = self.arranged(layout, others, node, f"{node.output[0]}.input"), node.output[0]
    source = self.shaped(found.source, 1, found.count(POSITIONS), node, f"{output}.rows")
    self.emit(SOFTMAX, [source], output, self.natives[source], node)
    self.layouts[output] = found.over(output)


def reduce(self: Rewriting, node: onnx.NodeProto) -> None:
    """A mean, sum, maximum or length along listed axes."""
    layout, values, output = self.layout(node.input[0]), attributes(node), node.output[0]
    listed = self.constants.get(node.input[1]) if len(node.input) > 1 else values.get("axes")
    axes = [] if listed is None else sorted({int(axis) % len(layout.axes) for axis in listed})
    if not axes or any(atom.kind == IMAGES for axis in axes for atom in layout.axes[axis]):
        raise LayoutError("it is over the images, or over axes that are not stored")
    found = self.whole(layout, node, f"{output}.input")
    if node.op_type == "ReduceL2":
        squares = self.emit("Mul", [found.source] * 2, f"{output}.squares", self.natives[found.source], node)
        found = found.over(squares)
    kind = "MaxPool" if node.op_type == "ReduceMax" else "AveragePool"
    final = node.op_type in ("ReduceMean", "ReduceMax")
    pooled = _pooled(self, found, axes, kind, node, output if final else f"{output}.mean")
    source = pooled.source
    if not final:
        total = output if node.op_type == "ReduceSum" else f"{output}.sum"
        set_tensor(self.graph, f"{output}.count", np.float32(prod(_count(found.axes[axis]) for axis in axes)))
        source = self.emit("Mul", [source, f"{output}.count"], total, self.natives[source], node)
    if node.op_type == "ReduceL2":
        source = self.emit("Sqrt", [source], output, self.natives[source], node)
    keep = bool(values.get("keepdims", 1))
    kept = tuple(axis for number, axis in enumerate(pooled.axes) if keep or number not in axes)
    self.layouts[output] = Layout(source, kept).over(source)


def _pooled(
    self: Rewriting, layout: Layout, axes: Sequence[int], kind: str, node: onnx.NodeProto, output: str
) -> Layout:
    """The mean or maximum over axes, where they lie if they follow one another; those axes are left with one entry."""
    order = range(len(layout.axes))
    first, last = axes[0], axes[-1]
    count = prod(_count(layout.axes[axis]) for axis in axes)
    in_place = list(axes) == list(range(first, last + 1)) and not self.moves(layout, order)
    if layout.axes_of(POSITIONS) == list(axes) or not in_place:
        others = [number for number in order if number not in axes]
        found = self.arranged(layout, others, node, f"{output}.by_others")
        shape, behind, kept = (found.count(FEATURES), count, 1), FEATURES, found.axes
    else:
        before, after = (prod(_count(axis) for axis in part) for part in (layout.axes[:first], layout.axes[last + 1 :]))
        found, shape, behind, kept = layout, (before, count, after), POSITIONS, layout.axes
    if behind == FEATURES and kind == "AveragePool":
        self.emit("GlobalAveragePool", [found.source], output, (shape[0], 1, 1), node)
    else:
        source = self.seen_as(found.source, shape, node, f"{output}.along")
        numbers = {"kernel_shape": [count, 1], "strides": [1, 1], "pads": [0, 0, 0, 0]}
        self.emit(kind, [source], output, (shape[0], 1, shape[2]), node, **numbers)
    left = [
        () if number in axes else _of(axis, FEATURES if number < first else behind) for number, axis in enumerate(kept)
    ]
    return Layout(output, tuple(left)).over(output)


def pad(self: Rewriting, node: onnx.NodeProto) -> None:
    """Padding of an image whose channels are last, which it leaves as many as they are."""
    layout, pads = self.layout(node.input[0]), self.constants.get(node.input[1])
    listed = self.constants.get(node.input[3]) if len(node.input) > 3 and node.input[3] else None
    rank, output = len(layout.axes), node.output[0]
    if pads is None or rank != 4 or not layout.batch_first:
        raise LayoutError("it is no padding of images by stored numbers")
    axes = [int(axis) % rank for axis in listed] if listed is not None else list(range(rank))
    both = np.zeros((2, rank), np.int64)
    both[:, axes] = pads.reshape(2, -1)
    free = [number for number in (3, 1) if not both[:, number].any()]
    if not free or both[:, 0].any():
        raise LayoutError("it pads images, or their channels")
    order = [0, free[0], *(number for number in (1, 2, 3) if number != free[0])]
    found = self.arranged(layout, [free[0]], node, f"{output}.input")
    sizes = [_count(found.axes[number]) for number in order]
    source = self.seen_as(found.source, (sizes[1], sizes[2], sizes[3]), node, f"{output}.image")
    set_tensor(self.graph, f"{output}.pads", both[:, order].reshape(-1))
    grown = [size + int(both[:, number].sum()) for size, number in zip(sizes, order, strict=True)]
    inputs = [source, f"{output}.pads", *node.input[2:3]]
    mode = {name: value for name, value in attributes(node).items() if name == "mode"}
    self.emit("Pad", inputs, output, (grown[1], grown[2], grown[3]), node, **mode)
    made: list[Axis] = [found.axes[0], (), (), ()]
    for place, number in enumerate(order[1:], 1):
        made[number] = merged([Atom(FEATURES if place == 1 else POSITIONS, grown[place])])
    self.layouts[output] = Layout(output, tuple(made)).over(output)


def normalise(self: Rewriting, node: onnx.NodeProto) -> None:
    """A batch norm over windows, or over images and positions that were joined into one axis."""
    layout, output = self.layout(node.input[0]), node.output[0]
    found = self.arranged(layout, [1], node, f"{output}.input")
    shape = self.natives[found.source]
    self.emit(node.op_type, [found.source, *node.input[1:]], output, shape, node, **attributes(node))
    self.layouts[output] = found.over(output)


def _count(axis: Axis) -> int:
    """How many numbers of a sample an axis has."""
    return prod(atom.size or 1 for atom in axis if atom.kind != IMAGES)


def _of(axis: Axis, kind: str) -> Axis:
    """The axis with all but the images of one kind."""
    return tuple(atom if atom.kind == IMAGES else Atom(kind, atom.size) for atom in axis)
