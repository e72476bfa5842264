"""Every value with its channels first, as the native network has them: layers over the last axis of images and tokens.

Not part of `normalise`: lowering alone reads what comes of it, in a copy of the graph. Nodes that only move numbers
vanish into the `Layout` of what they write; a node behind them reads the value that the numbers lie in. A linear layer
over the last axis becomes a Gemm of such a value, a layer norm over the last axis a ChannelNormalization.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import helper

from export.graph import attributes, consumers, module_of, producers, remove_unused, set_tensor, shapes, tensors
from export.operators.arithmetic import FEATURES_LAST
from export.operators.arrangement import RESHAPE
from export.operators.elementwise import is_elementwise
from export.passes.layout import (
    FEATURES,
    IMAGES,
    POSITIONS,
    Atom,
    Layout,
    LayoutError,
    Size,
    merged,
    plain,
)
from export.passes.sample_norm import CHANNEL_NORM
from mest.errors import InputError

Shape = tuple[int, ...]


def put_channels_first(model: onnx.ModelProto, trained: Collection[str]) -> int:
    """Rewrite what has its channels elsewhere, in place; return how many nodes were. `trained`: the parameters.

    Requires a normalised graph. Ensures that every value with images in it has its channels behind them, and that a
    value that some node computed keeps its name. Raises InputError naming the first operator for which that cannot be.
    """
    return _Rewriting(model, trained).run()


class _Rewriting:
    def __init__(self, model: onnx.ModelProto, trained: Collection[str]) -> None:
        self.graph, self.trained = model.graph, set(trained)
        self.sizes = shapes(model)
        self.constants = tensors(model.graph)
        self.makers = producers(model.graph)
        self.readers = consumers(model.graph)
        self.outputs = {output.name for output in model.graph.output}
        self.layouts: dict[str, Layout | None] = {}  # by value that an image is in; None: a shape that is not known
        self.natives: dict[str, Shape] = {}  # by value that is written now: its shape a sample
        self.made: list[onnx.NodeProto] = []
        self.joined: set[str] = set()  # values whose node became part of the one before
        self.changed = 0

    def run(self) -> int:
        image = self.graph.input[0].name
        self._known(image)
        for node in self.graph.node:
            self._node(node)
        if not self.changed:
            return 0
        del self.graph.node[:], self.graph.value_info[:]
        self.graph.node.extend(self.made)
        remove_unused(self.graph)
        for name, shape in self.natives.items():
            if name != image and name not in self.outputs:
                sized = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["images", *shape])
                self.graph.value_info.append(sized)
        return self.changed

    def _node(self, node: onnx.NodeProto) -> None:
        moving = [name for name in node.input if name in self.layouts]
        if node.output[0] in self.joined:
            return
        if not moving or node.op_type == "Shape" or any(self.layouts[name] is None for name in moving):
            self.keep(node, bool(moving) and node.op_type != "Shape")
            return
        try:
            handler = HANDLERS.get(node.op_type) or (_elementwise if is_elementwise(node) else _plainly)
            handler(self, node)
        except LayoutError as refused:
            module = module_of(node) or "the model"
            raise InputError(
                f"operator {node.op_type} in module {module} ({node.output[0]}): the native engine cannot compute it "
                f"where {refused}"
            ) from refused

    def layout(self, name: str) -> Layout:
        """Where a value lies; raises LayoutError for a stored one."""
        found = self.layouts.get(name)
        if found is None:
            raise LayoutError(f"its input {name} is a constant")
        return found

    def keep(self, node: onnx.NodeProto, moving: bool) -> None:
        """The node as it is; `moving`: it writes values that an image is in."""
        self.made.append(node)
        for name in node.output if moving else ():
            self._known(name)

    def _known(self, name: str) -> None:
        """Take up a value whose channels are first."""
        size = self.sizes.get(name, ())
        fixed = [dim for dim in size[1:] if dim is not None]
        if len(size) not in (2, 4) or size[0] is not None or len(fixed) != len(size) - 1:
            self.layouts[name] = None
            return
        self.natives[name] = tuple(fixed)
        self.layouts[name] = plain(name, fixed)

    def is_plain(self, name: str) -> bool:
        """True for a value that is (n, c) or (n, c, h, w) in the order of its source."""
        found = self.layouts[name]
        return found is not None and found == plain(found.source, self.natives[found.source])

    def emit(
        self, kind: str, inputs: Sequence[str], output: str, shape: Shape, origin: onnx.NodeProto, **values: Any
    ) -> str:
        """A new node that writes `shape` a sample; the name of its value."""
        made = helper.make_node(kind, list(inputs), [output], output, **values)
        made.metadata_props.extend(origin.metadata_props)
        self.made.append(made)
        self.natives[output] = shape
        self.changed += 1
        return output

    def whole(self, layout: Layout, node: onnx.NodeProto, name: str) -> Layout:
        """The layout over a value that has its numbers alone; what picks them has `name`. Raises LayoutError."""
        source = layout.source
        channels, *positions = self.natives[source]
        if sorted(atom.kind for axis in layout.axes for atom in axis).count(IMAGES) != 1:
            raise LayoutError("images are mixed with other dimensions")
        if not np.array_equal(layout.places(POSITIONS), np.arange(prod(positions))):
            raise LayoutError("its positions are in another order, or only some of them")
        listed = layout.places(FEATURES)
        if not np.array_equal(listed, np.arange(channels)):
            set_tensor(self.graph, f"{name}.channels", listed.astype(np.int64))
            shape = (len(listed), *positions)
            source = self.emit("Gather", [source, f"{name}.channels"], name, shape, node, axis=1)
        if layout.factor != 1:
            set_tensor(self.graph, f"{name}.factor", np.float32(layout.factor))
            source = self.emit("Mul", [source, f"{name}.factor"], f"{name}.scaled", self.natives[source], node)
        return layout.over(source)

    def shaped(self, source: str, rows: int, columns: int, node: onnx.NodeProto, name: str) -> str:
        """A value with its positions in so many rows."""
        channels = self.natives[source][0]
        if self.natives[source] == (channels, rows, columns):
            return source
        return self.emit(RESHAPE, [source], name, (channels, rows, columns), node, height=rows)

    def channels_first(self, layout: Layout, node: onnx.NodeProto, name: str) -> str:
        """The value as (n, c) or (n, c, h, w), where those are its axes; raises LayoutError."""
        found = self.whole(layout, node, name)
        rank, kinds = len(found.axes), (FEATURES, POSITIONS, POSITIONS)
        fits = found.batch_first and all(
            atom.kind == kind for axis, kind in zip(found.axes[1:], kinds, strict=False) for atom in axis
        )
        if rank not in (2, 4) or not fits:
            raise LayoutError("its input is not (images, channels, height, width) or (images, channels)")
        if rank == 4:
            rows, columns = (prod(atom.size or 1 for atom in axis) for axis in found.axes[2:])
            return self.shaped(found.source, rows, columns, node, f"{name}.image")
        if len(self.natives[found.source]) == 1:
            return found.source
        return self.emit("Flatten", [found.source], f"{name}.flat", self.natives[found.source][:1], node, axis=1)


def _plainly(self: _Rewriting, node: onnx.NodeProto) -> None:
    """Any operator that takes and writes values with their channels first."""
    sources = {
        name: self.channels_first(self.layout(name), node, f"{node.output[0]}.input{number or ''}")
        for number, name in enumerate(dict.fromkeys(node.input))
        if name in self.layouts
    }
    for number, name in enumerate(node.input):
        node.input[number] = sources.get(name, name)
    self.keep(node, True)


def _all_plain(self: _Rewriting, node: onnx.NodeProto) -> bool:
    return all(self.is_plain(name) for name in node.input if name in self.layouts)


def _moved(self: _Rewriting, node: onnx.NodeProto, layout: Layout) -> None:
    """Note where the node's numbers lie instead of computing it."""
    size = self.sizes.get(node.output[0])
    if size is not None and len(size) != len(layout.axes):
        raise LayoutError(f"its shape {list(size)} is not what it moves")
    self.layouts[node.output[0]] = layout
    self.changed += 1
    if node.output[0] in self.outputs:
        source = self.channels_first(layout, node, f"{node.output[0]}.input")
        self.emit("Flatten", [source], node.output[0], self.natives[source], node, axis=1)


def _transpose(self: _Rewriting, node: onnx.NodeProto) -> None:
    layout = self.layout(node.input[0])
    order = attributes(node).get("perm", list(reversed(range(len(layout.axes)))))
    _moved(self, node, layout.transposed(order))


def _reshape(self: _Rewriting, node: onnx.NodeProto) -> None:
    if node.op_type == "Flatten" and _all_plain(self, node):
        _plainly(self, node)
        return
    _moved(self, node, self.layout(node.input[0]).regrouped(_size(self, node)))


def _size(self: _Rewriting, node: onnx.NodeProto) -> tuple[Size, ...]:
    size = self.sizes.get(node.output[0])
    if size is None:
        raise LayoutError("its shape is not fixed")
    return size


def _squeeze(self: _Rewriting, node: onnx.NodeProto) -> None:
    layout, size = self.layout(node.input[0]), _size(self, node)
    _moved(self, node, layout.regrouped(size))


def _gather(self: _Rewriting, node: onnx.NodeProto) -> None:
    layout, index = self.layout(node.input[0]), self.constants.get(node.input[1])
    axis = int(attributes(node).get("axis", 0)) % len(layout.axes)
    if index is None or index.size != 1 or index.ndim > 1 or (index.ndim == 1 and _all_plain(self, node)):
        _plainly(self, node)
        return
    at = int(index.reshape(-1)[0])
    count = prod(atom.size or 1 for atom in layout.axes[axis])
    taken = layout.taken(axis, at % count, 1)
    _moved(self, node, taken if index.ndim else taken.without(axis))


def _slice(self: _Rewriting, node: onnx.NodeProto) -> None:
    layout, size = self.layout(node.input[0]), self.sizes.get(node.input[0], ())
    bounds = [self.constants.get(name) for name in node.input[1:]]
    if len(bounds) < 3 or any(bound is None or bound.size != 1 for bound in bounds):
        raise LayoutError("its bounds are not stored, or of several axes")
    first, end, axis, *step = (int(bound.reshape(-1)[0]) for bound in bounds if bound is not None)
    axis %= len(layout.axes)
    if _all_plain(self, node) and axis == 1:
        _plainly(self, node)
        return
    length = size[axis]
    if length is None:
        raise LayoutError("it cuts the dimension of the images")
    by = step[0] if step else 1
    kept = np.arange(length)[first : None if by < 0 and end < -length else end : by]
    if not len(kept):
        raise LayoutError("nothing is left")
    _moved(self, node, layout.taken(axis, int(kept[0]), len(kept), by))


def _linear(self: _Rewriting, node: onnx.NodeProto) -> None:
    """A Gemm with the weight as a layer has it, or a MatMul with that weight transposed, and its bias."""
    values, bias = attributes(node), list(node.input[2:])
    if node.op_type == "Gemm":
        if _all_plain(self, node) or not values.get("transB") or values.get("transA") or node.input[1] in self.layouts:
            _plainly(self, node)
            return
        weight = node.input[1]
        if values.get("alpha", 1) != 1 or values.get("beta", 1) != 1:
            raise LayoutError("alpha or beta is not 1")
    else:
        turn = self.makers.get(node.input[1])
        if turn is None or turn.op_type != "Transpose" or turn.input[0] not in self.constants:
            raise LayoutError("none of its operands is the weight of a linear layer")
        weight = turn.input[0]
    layout, stored = self.layout(node.input[0]), self.constants.get(weight)
    last, output = len(layout.axes) - 1, node.output[0]
    if stored is None or stored.ndim != 2 or not layout.all_of(last, FEATURES):
        raise LayoutError("its input's last axis is not that of the features")
    if node.op_type == "MatMul" and (join := _bias(self, output, len(stored))):
        bias, output = [join[0]], join[1]
        self.joined.add(output)
    found = self.whole(layout, node, f"{output}.input")
    source = found.source if last > 1 or not found.batch_first else self.channels_first(layout, node, f"{output}.input")
    shape = (len(stored), *self.natives[source][1:])
    self.emit("Gemm", [source, weight, *bias], output, shape, node, transB=1)
    rows = merged([Atom(FEATURES, len(stored))])
    self.layouts[output] = Layout(output, (*found.axes[:last], rows))


def _bias(self: _Rewriting, value: str, features: int) -> tuple[str, str] | None:
    """The stored vector that the only reader of a value adds to it, and what that writes."""
    readers = self.readers.get(value, [])
    if len(readers) != 1 or readers[0].op_type != "Add" or value in self.outputs:
        return None
    (other,) = (name for name in readers[0].input if name != value)
    stored = self.constants.get(other)
    return (other, readers[0].output[0]) if stored is not None and stored.shape == (features,) else None


def _layer_norm(self: _Rewriting, node: onnx.NodeProto) -> None:
    layout = self.layout(node.input[0])
    last = len(layout.axes) - 1
    over_last = int(attributes(node).get("axis", -1)) % (last + 1) == last
    if _all_plain(self, node) and not (over_last and last > 1):
        _plainly(self, node)
        return
    if not over_last or not layout.all_of(last, FEATURES):
        raise LayoutError("it is not over all features of each position")
    found, output = self.whole(layout, node, f"{node.output[0]}.input"), node.output[0]
    epsilon = attributes(node).get("epsilon", 1e-5)
    shape = self.natives[found.source]
    self.emit(CHANNEL_NORM, [found.source, *node.input[1:]], output, shape, node, epsilon=epsilon)
    self.layouts[output] = found.over(output)


def _elementwise(self: _Rewriting, node: onnx.NodeProto) -> None:
    if _all_plain(self, node):
        _plainly(self, node)
        return
    names = [name for name in dict.fromkeys(node.input) if name in self.layouts]
    if len(names) == 1 and _times_a_number(self, node, names[0]):
        return
    made = [f"{node.output[0]}.input{number or ''}" for number in range(len(names))]
    found = [self.whole(self.layout(name), node, own) for name, own in zip(names, made, strict=True)]
    result = _broadcast(found)
    sources = {
        name: _spread(self, layout, result, node, f"{own}.positions")
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


def _times_a_number(self: _Rewriting, node: onnx.NodeProto, name: str) -> bool:
    """True if the node multiplies or divides heads by one stored number, which is left to whoever reads them."""
    layout = self.layout(name)
    headed = len(layout.axes_of(FEATURES)) > 1
    numbers = [self.constants.get(other) for other in node.input if other != name]
    right = node.op_type == "Mul" or (node.op_type == "Div" and node.input[0] == name)
    if not headed or not right or len(numbers) != 1 or numbers[0] is None or numbers[0].size != 1:
        return False
    if any(other in self.trained for other in node.input):
        return False
    number = float(numbers[0].reshape(-1)[0])
    factor = layout.factor * number if node.op_type == "Mul" else layout.factor / number
    _moved(self, node, replace(layout, factor=factor))
    return True


def _broadcast(layouts: Sequence[Layout]) -> Layout:
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


def _spread(self: _Rewriting, layout: Layout, result: Layout, node: onnx.NodeProto, name: str) -> str:
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


def _mean(self: _Rewriting, node: onnx.NodeProto) -> None:
    """A mean over all positions."""
    layout, values = self.layout(node.input[0]), attributes(node)
    listed = self.constants.get(node.input[1]) if len(node.input) > 1 else values.get("axes")
    axes = [] if listed is None else sorted(int(axis) % len(layout.axes) for axis in listed)
    if not axes or axes != layout.axes_of(POSITIONS) or not all(layout.all_of(a, POSITIONS) for a in axes[:1]):
        raise LayoutError("it is not over all positions")
    found, output = self.whole(layout, node, f"{node.output[0]}.input"), node.output[0]
    self.emit("GlobalAveragePool", [found.source], output, (self.natives[found.source][0], 1, 1), node)
    kept = [
        () if number in axes else axis
        for number, axis in enumerate(found.axes)
        if number not in axes or values.get("keepdims", 1)
    ]
    self.layouts[output] = Layout(output, tuple(kept)).over(output)


def _concat(self: _Rewriting, node: onnx.NodeProto) -> None:
    """Features of several values one behind the other."""
    if _all_plain(self, node):
        _plainly(self, node)
        return
    if any(name not in self.layouts for name in node.input):
        raise LayoutError("it joins stored numbers")
    made = [f"{node.output[0]}.input{number or ''}" for number in range(len(node.input))]
    found = [self.whole(self.layout(name), node, own) for name, own in zip(node.input, made, strict=True)]
    rank = len(found[0].axes)
    axis = int(attributes(node)["axis"]) % rank
    if not all(layout.all_of(axis, FEATURES) and len(layout.axes) == rank for layout in found):
        raise LayoutError("it joins something else than features")
    result = _broadcast([Layout("", (*layout.axes[:axis], (), *layout.axes[axis + 1 :])) for layout in found])
    sources = [_spread(self, layout, result, node, f"{own}.positions") for layout, own in zip(found, made, strict=True)]
    channels = sum(self.natives[source][0] for source in sources)
    output, positions = node.output[0], self.natives[sources[0]][1:]
    self.emit("Concat", sources, output, (channels, *positions), node, axis=1)
    joined = (*result.axes[:axis], merged([Atom(FEATURES, channels)]), *result.axes[axis + 1 :])
    self.layouts[output] = Layout(output, joined).over(output)


ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div"})
HANDLERS: dict[str, Callable[[_Rewriting, onnx.NodeProto], None]] = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _squeeze,
    "Gather": _gather,
    "Slice": _slice,
    "Gemm": _linear,
    "MatMul": _linear,
    "LayerNormalization": _layer_norm,
    "ReduceMean": _mean,
    "Concat": _concat,
}
