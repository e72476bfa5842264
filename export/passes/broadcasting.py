"""What is computed element by element, where channels lie elsewhere than behind the images. See `channels_first`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from math import prod

import numpy as np
import onnx

from export.graph import attributes, set_tensor
from export.operators.arithmetic import ARITHMETIC, FEATURES_LAST
from export.operators.elementwise import is_elementwise
from export.passes.layout import FEATURES, IMAGES, POSITIONS, Atom, Axis, Layout, LayoutError, merged
from export.passes.rewriting import Rewriting, Shape, plainly


def elementwise(self: Rewriting, node: onnx.NodeProto) -> None:
    """An elementwise operator, on values that share their positions, or beside stored numbers."""
    if self.all_plain(node):
        plainly(self, node)
        return
    names = [name for name in dict.fromkeys(node.input) if name in self.layouts]
    if len(names) == 1 and _times_a_number(self, node, names[0]):
        return
    made = [f"{node.output[0]}.input{number or ''}" for number in range(len(names))]
    found = [self.whole(self.layout(name), node, own) for name, own in zip(names, made, strict=True)]
    try:
        result = broadcast(found)
    except LayoutError:
        _in_order(self, node, dict(zip(names, found, strict=True)))
        return
    if len(result.axes_of(POSITIONS)) > 2 and len({layout.count(POSITIONS) for layout in found}) > 1:
        _in_order(self, node, dict(zip(names, found, strict=True)))
        return
    sources = {
        name: spread(self, layout, result, node, f"{own}.positions")
        for name, layout, own in zip(names, found, made, strict=True)
    }
    stored = [self.constants[name] for name in node.input if name not in sources and name in self.constants]
    extra = {FEATURES_LAST: 1} if any(array.size > 1 for array in stored) else {}
    if extra:
        _check_beside(node, result, max(stored, key=np.size))
    inputs, output = [sources.get(name, name) for name in node.input], node.output[0]
    shape = tuple(max(sizes) for sizes in zip(*(self.natives[source] for source in sources.values()), strict=True))
    if extra:
        shape = _with_stored(shape, max(stored, key=np.size).shape)
    self.emit(node.op_type, inputs, output, shape, node, **{**attributes(node), **extra})
    self.layouts[output] = result.over(output)


def expand(self: Rewriting, node: onnx.NodeProto) -> None:
    """Numbers that are repeated for operators that repeat them anyway."""
    readers = self.readers.get(node.output[0], [])
    layout, size = self.layout(node.input[0]), self.size(node)
    if len(size) != len(layout.axes) or not all(is_elementwise(one) or one.op_type == "MatMul" for one in readers):
        raise LayoutError("what it repeats is read by something else than arithmetic")
    self.moved(node, layout)


def _in_order(self: Rewriting, node: onnx.NodeProto, found: dict[str, Layout]) -> None:
    """Put every operand into the order of its axes, of which those that are repeated for the same ones become one."""
    rank = max(len(layout.axes) for layout in found.values())
    sizes: dict[str, list[int]] = {}
    images: list[Axis] = [()] * rank
    for name, layout in found.items():
        axes = [(), *[()] * (rank - len(layout.axes) - 1), *layout.axes][-rank:]
        sizes[name] = [prod(atom.size or 1 for atom in axis if atom.kind != IMAGES) for axis in axes]
        for number, axis in enumerate(axes):
            own = tuple(atom for atom in axis if atom.kind == IMAGES)
            if own and axis[0] != own[0]:
                raise LayoutError("its operands have images behind other numbers in an axis")
            images[number] = images[number] or own
    for name in node.input:
        if name not in sizes and name not in self.constants:
            raise LayoutError("its operand is computed from parameters")
        if name in self.constants:
            sizes[name] = ([1] * rank + list(self.constants[name].shape))[-rank:]
    whole = [max(column) for column in zip(*sizes.values(), strict=True)]
    kinds = [tuple(own[number] == 1 for own in sizes.values()) for number in range(rank)]
    parts = [list(part) for _, part in groupby((n for n in range(rank) if whole[n] > 1), key=lambda n: kinds[n])]
    if len(parts) > 3:
        raise LayoutError("its operands are repeated along too many axes")
    inputs = []
    for number, name in enumerate(node.input):
        shape = tuple([*(prod(sizes[name][axis] for axis in part) for part in parts), 1, 1, 1][:3])
        label = f"{node.output[0]}.operand{number}"
        if name in found:
            source = self.ordered(found[name], range(len(found[name].axes)), node, label)
            inputs.append(self.seen_as(source, (shape[0], shape[1], shape[2]), node, f"{label}.in_order"))
        elif name in self.trained and self.constants[name].size > 1 and self.constants[name].shape != shape:
            raise LayoutError(f"its parameter of shape {list(self.constants[name].shape)} is along several of its axes")
        elif name in self.trained:
            inputs.append(name)
        else:
            set_tensor(self.graph, label, self.constants[name].reshape(shape))
            inputs.append(label)
    output = node.output[0]
    channels, rows, columns = [*(prod(whole[axis] for axis in part) for part in parts), 1, 1, 1][:3]
    self.emit(node.op_type, inputs, output, (channels, rows, columns), node, **attributes(node))
    first = parts[0] if parts else []
    axes = [
        merged([*images[number], Atom(FEATURES if number in first else POSITIONS, whole[number])])
        for number in range(rank)
    ]
    self.layouts[output] = Layout(output, tuple(axes)).over(output)


def _times_a_number(self: Rewriting, node: onnx.NodeProto, name: str) -> bool:
    """True if the node multiplies or divides heads by one stored number, which is left to whoever reads them."""
    layout, number = self.layout(name), self.number(node, name)
    if number is None or len(layout.axes_of(FEATURES)) < 2:
        return False
    self.moved(node, replace(layout, factor=layout.factor * number))
    return True


def broadcast(layouts: Sequence[Layout]) -> Layout:
    """The layout of what is computed of several values element by element; raises LayoutError."""
    rank = max(len(layout.axes) for layout in layouts)
    axes: list[tuple[Atom, ...]] = [()] * rank
    for layout in layouts:
        for number, axis in enumerate(layout.axes, rank - len(layout.axes)):
            sizes = [(atom.kind, atom.size) for atom in axis]
            if axes[number] and axis and sizes != [(atom.kind, atom.size) for atom in axes[number]]:
                raise LayoutError("its operands have their channels in different places")
            axes[number] = axis or axes[number]
    return Layout("", tuple(axes))


def spread(self: Rewriting, layout: Layout, result: Layout, node: onnx.NodeProto, name: str) -> str:
    """The value with its positions in the rows and columns that the axes of the result make of them."""
    ahead = len(result.axes) - len(layout.axes)
    sizes = [
        prod(atom.size or 1 for atom in layout.axes[number - ahead]) if number >= ahead else 1
        for number in result.axes_of(POSITIONS)
    ]
    rows, columns = [1, 1, *sizes][-2:]
    return self.shaped(layout.source, rows, columns, node, name)


def _check_beside(node: onnx.NodeProto, result: Layout, stored: np.ndarray) -> None:
    """Raise LayoutError unless a stored tensor's axes are the positions, if it varies along them, and the features."""
    if attributes(node).get(FEATURES_LAST):
        if not result.all_of(1, FEATURES):
            raise LayoutError(f"its stored operand of {stored.size} numbers is along something else than the features")
        return
    last, positions = len(result.axes) - 1, result.axes_of(POSITIONS)
    in_order = result.batch_first and positions == list(range(1, last)) and len(positions) < 3
    along_features = stored.size == stored.shape[-1]
    if node.op_type not in ARITHMETIC or not result.all_of(last, FEATURES) or not (in_order or along_features):
        raise LayoutError(f"its stored operand of shape {list(stored.shape)} does not have the features last")


def _with_stored(shape: Shape, stored: Shape) -> Shape:
    """What a value's shape becomes beside a stored tensor with its features last."""
    channels, *positions = shape
    beside = ([1] * len(shape) + list(stored))[-len(shape) :]
    together = [max(sizes) for sizes in zip([*positions, channels], beside, strict=True)]
    return (together[-1], *together[:-1])
