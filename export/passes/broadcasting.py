"""What is computed element by element, where channels lie elsewhere than behind the images. See `channels_first`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
import onnx

from export.graph import attributes
from export.operators.arithmetic import ARITHMETIC, FEATURES_LAST
from export.passes.layout import FEATURES, POSITIONS, Atom, Layout, LayoutError
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
    result = broadcast(found)
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
