"""Every value with its channels first, as the native network has them: layers over the last axis of images and tokens.

Not part of `normalise`: lowering alone reads what comes of it, in a copy of the graph. Nodes that only move numbers
vanish into the `Layout` of what they write; a node behind them reads the value that the numbers lie in. A linear layer
over the last axis becomes a Gemm of such a value, a layer norm over the last axis a ChannelNormalization.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from math import prod

import numpy as np
import onnx

from export.graph import attributes
from export.operators.arithmetic import ARITHMETIC, FEATURES_LAST
from export.operators.elementwise import is_elementwise
from export.operators.tokens import PREPEND
from export.passes.attention import scored
from export.passes.layout import (
    BATCH,
    FEATURES,
    POSITIONS,
    Atom,
    Layout,
    LayoutError,
    Size,
    merged,
)
from export.passes.rewriting import Handler, Rewriting, Shape, plainly
from export.passes.sample_norm import CHANNEL_NORM


def put_channels_first(model: onnx.ModelProto, trained: Collection[str]) -> int:
    """Rewrite what has its channels elsewhere, in place; return how many nodes were. `trained`: the parameters.

    Requires a normalised graph. Ensures that every value with images in it has its channels behind them, and that a
    value that some node computed keeps its name. Raises InputError naming the first operator for which that cannot be.
    """
    return Rewriting(model, trained, HANDLERS, _otherwise, scored).run()


def _otherwise(self: Rewriting, node: onnx.NodeProto) -> None:
    if is_elementwise(node):
        _elementwise(self, node)
    else:
        plainly(self, node)


def _transpose(self: Rewriting, node: onnx.NodeProto) -> None:
    layout = self.layout(node.input[0])
    order = attributes(node).get("perm", list(reversed(range(len(layout.axes)))))
    self.moved(node, layout.transposed(order))


def _reshape(self: Rewriting, node: onnx.NodeProto) -> None:
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


def _squeeze(self: Rewriting, node: onnx.NodeProto) -> None:
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


def _gather(self: Rewriting, node: onnx.NodeProto) -> None:
    layout, index = self.layout(node.input[0]), self.constants.get(node.input[1])
    axis = int(attributes(node).get("axis", 0)) % len(layout.axes)
    if index is None or index.size != 1 or index.ndim > 1 or (index.ndim == 1 and self.all_plain(node)):
        plainly(self, node)
        return
    at = int(index.reshape(-1)[0])
    count = prod(atom.size or 1 for atom in layout.axes[axis])
    taken = layout.taken(axis, at % count, 1)
    self.moved(node, taken if index.ndim else taken.without(axis))


def _slice(self: Rewriting, node: onnx.NodeProto) -> None:
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
    self.moved(node, layout.taken(axis, int(kept[0]), len(kept), by))


def _linear(self: Rewriting, node: onnx.NodeProto) -> None:
    """A Gemm with the weight as a layer has it, or a MatMul with that weight transposed, and its bias."""
    if node.op_type == "MatMul" and node.input[1] in self.layouts:
        scored(self, node)
        return
    values, bias = attributes(node), list(node.input[2:])
    if node.op_type == "Gemm":
        if self.all_plain(node) or not values.get("transB") or values.get("transA") or node.input[1] in self.layouts:
            plainly(self, node)
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
    vector = last == 1 and layout.batch_first
    source = (self.channels_first if vector else self.source)(layout, node, f"{output}.input")
    shape = (len(stored), *self.natives[source][1:])
    self.emit("Gemm", [source, weight, *bias], output, shape, node, transB=1)
    rows = merged([Atom(FEATURES, len(stored))])
    self.layouts[output] = Layout(output, (*layout.axes[:last], rows)).over(output)


def _bias(self: Rewriting, value: str, features: int) -> tuple[str, str] | None:
    """The stored vector that the only reader of a value adds to it, and what that writes."""
    readers = self.readers.get(value, [])
    if len(readers) != 1 or readers[0].op_type != "Add" or value in self.outputs:
        return None
    (other,) = (name for name in readers[0].input if name != value)
    stored = self.constants.get(other)
    return (other, readers[0].output[0]) if stored is not None and stored.shape == (features,) else None


def _layer_norm(self: Rewriting, node: onnx.NodeProto) -> None:
    layout = self.layout(node.input[0])
    last = len(layout.axes) - 1
    over_last = int(attributes(node).get("axis", -1)) % (last + 1) == last
    if self.all_plain(node) and not (over_last and last > 1):
        plainly(self, node)
        return
    if not over_last or not layout.all_of(last, FEATURES):
        raise LayoutError("it is not over all features of each position")
    found, output = self.whole(layout, node, f"{node.output[0]}.input"), node.output[0]
    epsilon = attributes(node).get("epsilon", 1e-5)
    shape = self.natives[found.source]
    self.emit(CHANNEL_NORM, [found.source, *node.input[1:]], output, shape, node, epsilon=epsilon)
    self.layouts[output] = found.over(output)


def _elementwise(self: Rewriting, node: onnx.NodeProto) -> None:
    if self.all_plain(node):
        plainly(self, node)
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


def _times_a_number(self: Rewriting, node: onnx.NodeProto, name: str) -> bool:
    """True if the node multiplies or divides heads by one stored number, which is left to whoever reads them."""
    layout, number = self.layout(name), self.number(node, name)
    if number is None or len(layout.axes_of(FEATURES)) < 2:
        return False
    self.moved(node, replace(layout, factor=layout.factor * number))
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


def _spread(self: Rewriting, layout: Layout, result: Layout, node: onnx.NodeProto, name: str) -> str:
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


def _mean(self: Rewriting, node: onnx.NodeProto) -> None:
    """A mean over listed axes."""
    layout, values = self.layout(node.input[0]), attributes(node)
    listed = self.constants.get(node.input[1]) if len(node.input) > 1 else values.get("axes")
    axes = [] if listed is None else sorted(int(axis) % len(layout.axes) for axis in listed)
    _mean_over(self, node, layout, axes, bool(values.get("keepdims", 1)))


def _pool(self: Rewriting, node: onnx.NodeProto) -> None:
    """A mean over all axes behind the first two, of a window that is a sequence's features or of an image."""
    layout = self.layout(node.input[0])
    if len(layout.axes) != 3:
        plainly(self, node)
        return
    _mean_over(self, node, layout, list(range(2, len(layout.axes))), True)


def _mean_over(self: Rewriting, node: onnx.NodeProto, layout: Layout, axes: list[int], keep: bool) -> None:
    """A mean over axes that have to be those of all positions."""
    if not axes or axes != layout.axes_of(POSITIONS) or not all(layout.all_of(a, POSITIONS) for a in axes[:1]):
        raise LayoutError("it is not over all positions")
    found, output = self.whole(layout, node, f"{node.output[0]}.input"), node.output[0]
    self.emit("GlobalAveragePool", [found.source], output, (self.natives[found.source][0], 1, 1), node)
    kept = [() if number in axes else axis for number, axis in enumerate(found.axes) if number not in axes or keep]
    self.layouts[output] = Layout(output, tuple(kept)).over(output)


def _prepend(self: Rewriting, node: onnx.NodeProto) -> None:
    """Tokens that are parameters, repeated for each image, in front of a sequence."""
    *front, last = node.input
    if last not in self.layouts or any(name in self.layouts for name in front):
        raise LayoutError("it joins stored numbers with a value elsewhere than in front of it")
    found = self.whole(self.layout(last), node, f"{node.output[0]}.input")
    axis = int(attributes(node)["axis"]) % len(found.axes)
    if len(found.axes) != 3 or axis != 1 or not found.batch_first or not found.all_of(2, FEATURES):
        raise LayoutError("it joins stored numbers with something else than a sequence of features")
    source = found.source
    for number, name in reversed(list(enumerate(front))):
        maker = self.makers.get(name)
        tokens = maker.input[0] if maker is not None and maker.op_type == "Expand" else name
        stored = self.constants.get(tokens)
        if stored is None or tokens not in self.trained or stored.ndim not in (2, 3):
            raise LayoutError(f"the tokens {name} are no parameter of the model")
        channels, *positions = self.natives[source]
        output = f"{node.output[0]}.tokens{number}" if number else node.output[0]
        shape = (channels, 1, prod(positions) + stored.shape[-2])
        source = self.emit(PREPEND, [source, tokens], output, shape, node)
    self.layouts[source] = Layout(
        source, (BATCH, merged([Atom(POSITIONS, self.natives[source][2])]), found.axes[2])
    ).over(source)


def _concat(self: Rewriting, node: onnx.NodeProto) -> None:
    """Features of several values one behind the other."""
    if self.all_plain(node):
        plainly(self, node)
        return
    if any(name not in self.layouts for name in node.input):
        _prepend(self, node)
        return
    layouts = [self.layout(name) for name in node.input]
    axis = int(attributes(node)["axis"]) % len(layouts[0].axes)
    if (turned := _positions_joined(layouts, axis)) is not None:
        self.moved(node, turned)
        return
    made = [f"{node.output[0]}.input{number or ''}" for number in range(len(node.input))]
    found = [self.whole(layout, node, own) for layout, own in zip(layouts, made, strict=True)]
    rank = len(found[0].axes)
    if not all(layout.all_of(axis, FEATURES) and len(layout.axes) == rank for layout in found):
        raise LayoutError("it joins something else than features")
    result = _broadcast([Layout("", (*layout.axes[:axis], (), *layout.axes[axis + 1 :])) for layout in found])
    sources = [_spread(self, layout, result, node, f"{own}.positions") for layout, own in zip(found, made, strict=True)]
    channels = sum(self.natives[source][0] for source in sources)
    output, positions = node.output[0], self.natives[sources[0]][1:]
    self.emit("Concat", sources, output, (channels, *positions), node, axis=1)
    joined = (*result.axes[:axis], merged([Atom(FEATURES, channels)]), *result.axes[axis + 1 :])
    self.layouts[output] = Layout(output, joined).over(output)


def _positions_joined(layouts: Sequence[Layout], axis: int) -> Layout | None:
    """Positions of one value behind one another, as a cyclic shift joins them; None for anything else."""
    first = layouts[0]
    if len({(layout.source, layout.factor, len(layout.axes)) for layout in layouts}) != 1:
        return None
    if any(atom.kind != POSITIONS for layout in layouts for atom in layout.axes[axis]):
        return None
    if any(not np.array_equal(layout.places(FEATURES), first.places(FEATURES)) for layout in layouts):
        return None
    places = [layout.positions() for layout in layouts]
    if len({(*one.shape[:axis], *one.shape[axis + 1 :]) for one in places}) != 1:
        return None
    return first.reordered(np.concatenate(places, axis))


HANDLERS: dict[str, Handler] = {
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
    "GlobalAveragePool": _pool,
    "Concat": _concat,
}
