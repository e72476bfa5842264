"""A graph in which each value's channels come to be first, node by node: what the handlers of operators share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import helper

from export.graph import consumers, module_of, producers, remove_unused, set_tensor, shapes, tensors
from export.operators.arrangement import EXCHANGE, RESHAPE
from export.operators.tokens import POSITIONS_LISTED, POSITIONS_PICKED
from export.passes.exchanges import View, exchanges
from export.passes.layout import BATCH, FEATURES, IMAGES, POSITIONS, Atom, Layout, LayoutError, Size, merged, plain
from export.passes.windows import window_over_row, with_row
from mest.errors import InputError

Shape = tuple[int, ...]
Handler = Callable[["Rewriting", onnx.NodeProto], None]


@dataclass(frozen=True)
class Scores:
    """Queries times keys, `factor` times over, plus what stands beside them, perhaps behind a softmax.

    `layout`: the axes of the scores. `bias`: a parameter, and which of its numbers each score gets,
    (heads, queries, keys); `mask`: stored numbers (windows or 1, queries, keys).
    """

    query: Layout
    key: Layout
    layout: Layout
    factor: float = 1.0
    softened: bool = False
    bias: tuple[str, np.ndarray] | None = None
    mask: np.ndarray | None = None
    product: str = ""  # what the node that multiplies queries and keys writes


class NoAttentionError(Exception):
    """Scores end in something else than one attention; `product` is what multiplies queries and keys."""

    def __init__(self, product: str) -> None:
        super().__init__(product)
        self.product = product


class Rewriting:
    """A graph being rewritten: where each value's numbers lie, and the nodes so far.

    `trained` are the parameters, `handlers` what becomes of a node by its operator, `otherwise` of any other, and
    `scored` of one that reads scores. `written_out`: the products of two values that begin no attention of one step.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        trained: Collection[str],
        handlers: Mapping[str, Handler],
        otherwise: Handler,
        scored: Handler,
        written_out: Collection[str] = (),
    ) -> None:
        self.written_out = written_out
        self.graph, self.trained = model.graph, set(trained)
        self.handlers, self.otherwise, self.scored = handlers, otherwise, scored
        self.sizes = shapes(model)
        self.constants = tensors(model.graph)
        self.makers = producers(model.graph)
        self.readers = consumers(model.graph)
        self.outputs = {output.name for output in model.graph.output}
        self.layouts: dict[str, Layout | None] = {}  # by value that an image is in; None: a shape that is not known
        self.natives: dict[str, Shape] = {}  # by value that is written now: its shape a sample
        self.seen: dict[tuple[str, Shape], str] = {}  # what a value is called in another shape
        self.made: list[onnx.NodeProto] = []
        self.joined: set[str] = set()  # values whose node became part of the one before
        self.scores: dict[str, Scores] = {}  # by value that is no value of the native network
        self.changed = 0

    def run(self) -> int:
        """Rewrite all nodes; return how many changed."""
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
        moving = [name for name in node.input if name in self.layouts or name in self.scores]
        if node.output[0] in self.joined:
            return
        if not moving or node.op_type == "Shape" or any(self.layouts.get(name, ()) is None for name in moving):
            self.keep(node, bool(moving) and node.op_type != "Shape")
            return
        try:
            among = any(name in self.scores for name in node.input)
            handler = self.scored if among else self.handlers.get(node.op_type, self.otherwise)
            handler(self, node)
        except LayoutError as refused:
            product = next((self.scores[name].product for name in node.input if name in self.scores), None)
            if product is not None:
                raise NoAttentionError(product) from refused
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
        picked, all_of_them = layout.places(POSITIONS), prod(positions)
        if not np.array_equal(picked, np.arange(picked[0], picked[0] + len(picked))):
            set_tensor(self.graph, f"{name}.order", picked.astype(np.int64))
            inputs = [source, f"{name}.order"]
            source = self.emit(POSITIONS_LISTED, inputs, f"{name}.listed", (channels, 1, len(picked)), node)
            positions = [1, len(picked)]
        elif len(picked) != all_of_them:
            source = self.emit(
                POSITIONS_PICKED, [source], f"{name}.picked", (channels, 1, len(picked)), node, first=int(picked[0])
            )
            positions = [1, len(picked)]
        listed = layout.places(FEATURES)
        if not np.array_equal(listed, np.arange(channels)):
            set_tensor(self.graph, f"{name}.channels", listed.astype(np.int64))
            shape = (len(listed), *positions)
            source = self.emit("Gather", [source, f"{name}.channels"], name, shape, node, axis=1)
        if layout.factor != 1:
            set_tensor(self.graph, f"{name}.factor", np.float32(layout.factor))
            source = self.emit("Mul", [source, f"{name}.factor"], f"{name}.scaled", self.natives[source], node)
        return layout.over(source)

    def source(self, layout: Layout, node: onnx.NodeProto, name: str) -> str:
        """The value of `whole`."""
        return self.whole(layout, node, name).source

    def shaped(self, source: str, rows: int, columns: int, node: onnx.NodeProto, name: str) -> str:
        """A value with its positions in so many rows."""
        return self.seen_as(source, (self.natives[source][0], rows, columns), node, name)

    def seen_as(self, source: str, shape: tuple[int, int, int], node: onnx.NodeProto, name: str) -> str:
        """A value's numbers, in the order in which they lie, in another shape."""
        if self.natives[source] == shape:
            return source
        if (source, shape) not in self.seen:
            channels = {} if self.natives[source][0] == shape[0] else {"channels": shape[0]}
            self.seen[source, shape] = self.emit(RESHAPE, [source], name, shape, node, height=shape[1], **channels)
        return self.seen[source, shape]

    def moves(self, layout: Layout, order: Sequence[int]) -> list[View]:
        """What brings a layout over all of its source into the order of its axes, those listed first to last."""
        plane = prod(self.natives[layout.source][1:])
        atoms = [atom for number in order for atom in layout.axes[number] if atom.kind != IMAGES]
        strides = [atom.stride * (plane if atom.kind == FEATURES else 1) for atom in atoms]
        return exchanges([atom.size or 1 for atom in atoms], strides)

    def ordered(self, layout: Layout, order: Sequence[int], node: onnx.NodeProto, name: str) -> str:
        """A value with a layout's numbers in the order of its axes, those listed first to last."""
        source = layout.source
        for number, view in enumerate(self.moves(layout, order)):
            front, first, second, behind = view
            output, shape = f"{name}.exchanged{number or ''}", (front * second, first, behind)
            source = self.emit(EXCHANGE, [source], output, shape, node, view=list(view))
        return source

    def arranged(self, layout: Layout, features: Sequence[int], node: onnx.NodeProto, name: str) -> Layout:
        """The layout over a value whose channels are the listed axes, and its positions all others."""
        found = self.whole(layout, node, name)
        kinds = [FEATURES if number in features else POSITIONS for number in range(len(found.axes))]
        pairs = list(zip(found.axes, kinds, strict=True))
        if all(atom.kind in (kind, IMAGES) for axis, kind in pairs for atom in axis):
            return found
        others = [number for number in range(len(found.axes)) if number not in features]
        source = self.ordered(found, [*sorted(features), *others], node, name)
        axes = tuple(
            tuple(atom if atom.kind == IMAGES else Atom(kind, atom.size) for atom in axis) for axis, kind in pairs
        )
        result = Layout(source, axes)
        channels, positions = result.count(FEATURES), result.count(POSITIONS)
        return result.over(self.seen_as(source, (channels, 1, positions), node, f"{name}.arranged"))

    def channels_first(self, layout: Layout, node: onnx.NodeProto, name: str) -> str:
        """The value as (n, c) or (n, c, h, w), where those are its axes; raises LayoutError."""
        rank = len(layout.axes)
        if rank not in (2, 4) or not layout.batch_first:
            raise LayoutError("its input is not (images, channels, height, width) or (images, channels)")
        found = self.arranged(layout, [1], node, name)
        if rank == 4:
            rows, columns = (prod(atom.size or 1 for atom in axis) for axis in found.axes[2:])
            return self.shaped(found.source, rows, columns, node, f"{name}.image")
        if len(self.natives[found.source]) == 1:
            return found.source
        return self.emit("Flatten", [found.source], f"{name}.flat", self.natives[found.source][:1], node, axis=1)

    def all_plain(self, node: onnx.NodeProto) -> bool:
        """True if all that a node reads has its channels first."""
        return all(self.is_plain(name) for name in node.input if name in self.layouts)

    def moved(self, node: onnx.NodeProto, layout: Layout) -> None:
        """Note where the node's numbers lie instead of computing it."""
        size = self.sizes.get(node.output[0])
        if size is not None and len(size) != len(layout.axes):
            raise LayoutError(f"its shape {list(size)} is not what it moves")
        self.layouts[node.output[0]] = layout
        self.changed += 1
        if node.output[0] in self.outputs:
            source = self.channels_first(layout, node, f"{node.output[0]}.input")
            self.emit("Flatten", [source], node.output[0], self.natives[source], node, axis=1)

    def size(self, node: onnx.NodeProto) -> tuple[Size, ...]:
        """The shape of what a node writes; raises LayoutError."""
        size = self.sizes.get(node.output[0])
        if size is None:
            raise LayoutError("its shape is not fixed")
        return size

    def number(self, node: onnx.NodeProto, value: str) -> float | None:
        """What the node multiplies a value by, where that is one stored number which is no parameter."""
        others = [name for name in node.input if name != value]
        stored = self.constants.get(others[0]) if len(others) == 1 and others[0] not in self.trained else None
        divided = node.op_type == "Div" and node.input[0] == value
        if stored is None or stored.size != 1 or not (divided or node.op_type == "Mul"):
            return None
        found = float(stored.reshape(-1)[0])
        return 1 / found if divided and found else None if divided else found


WINDOWED = frozenset({"Conv", "ConvTranspose", "MaxPool", "AveragePool"})


def plainly(self: Rewriting, node: onnx.NodeProto) -> None:
    """Any operator that takes and writes values with their channels first."""
    if node.op_type in WINDOWED and len(self.layout(node.input[0]).axes) == 3:
        _over_window(self, node)
        return
    sources = {
        name: self.channels_first(self.layout(name), node, f"{node.output[0]}.input{number or ''}")
        for number, name in enumerate(dict.fromkeys(node.input))
        if name in self.layouts
    }
    for number, name in enumerate(node.input):
        node.input[number] = sources.get(name, name)
    self.keep(node, True)


def _over_window(self: Rewriting, node: onnx.NodeProto) -> None:
    """A convolution or pooling of (n, c, l), as one of images of height 1."""
    found = self.arranged(self.layout(node.input[0]), [1], node, f"{node.output[0]}.input")
    size = self.size(node)
    if not found.batch_first or None in size[1:]:
        raise LayoutError("its input is not (images, channels, length)")
    node.input[0] = self.shaped(found.source, 1, found.count(POSITIONS), node, f"{node.output[0]}.window")
    window_over_row(node)
    for name in node.input[1:2]:
        if self.constants[name].ndim == 3:
            self.constants[name] = with_row(self.constants[name])
            set_tensor(self.graph, name, self.constants[name])
    output, (channels, length) = node.output[0], (int(size[1] or 0), int(size[2] or 0))
    self.made.append(node)
    self.natives[output] = (channels, 1, length)
    self.layouts[output] = Layout(
        output, (BATCH, merged([Atom(FEATURES, channels)]), merged([Atom(POSITIONS, length)]))
    )
    self.changed += 1
