"""Windows (n, c, l) → images of height 1, (n, c, 1, l), and vectors (n, f) → images of one pixel, (n, f, 1, 1).

Not part of `normalise`: every file keeps the model's own dimensions. Lowering alone reads such a graph, in its copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import onnx
from onnx import helper

from export.graph import attributes, rename_input, set_attributes, set_tensor, shapes, tensors
from export.operators.elementwise import ELEMENTWISE

ROW = 2  # where the axis of one row is put in


def with_row(array: np.ndarray) -> np.ndarray:
    """A stored tensor that fits windows as it fits images of height 1: kernels (o, i, k) become (o, i, 1, k)."""
    return np.expand_dims(array, -2)


def window_over_row(node: onnx.NodeProto) -> None:
    """Make a convolution or pooling along the length one over images of height 1, without padding across the row."""
    values = attributes(node)
    wider: dict[str, list[int]] = {}
    for name in ("kernel_shape", "strides", "dilations"):
        if name in values:
            wider[name] = [1, *values[name]]
    if "output_padding" in values:
        wider["output_padding"] = [0, *values["output_padding"]]
    if "pads" in values:
        before, after = values["pads"]
        wider["pads"] = [0, before, 0, after]
    set_attributes(node, **wider)


def images_of_windows(model: onnx.ModelProto) -> int:
    """Make images of the input and of all windows that follow from it; return how many values became images.

    Requires a graph in plain form, its sample norms joined. Ensures that values keep their names, that vectors stay
    vectors, and that what is not known to take images reads windows as before, behind a Reshape.
    """
    graph = model.graph
    sizes = shapes(model)
    source = graph.input[0]
    rank = len(sizes.get(source.name, ()))
    if rank not in (2, 3) or None in sizes[source.name][1:]:
        return 0
    walk = _Walk(model, sizes)
    if rank == 2:
        walk.flatten_input(source)
    else:
        source.type.tensor_type.shape.dim.insert(ROW, onnx.TensorShapeProto.Dimension(dim_value=1))
        walk.windows.add(source.name)
    for node in list(graph.node):
        walk.visit(node)
    walk.state_sizes()
    for output in graph.output:
        if output.name in walk.windows:  # answers that are windows themselves
            output.type.tensor_type.shape.dim.insert(ROW, onnx.TensorShapeProto.Dimension(dim_value=1))
    return len(walk.windows) + (rank == 2)


class _Walk:
    """A graph on the way; `windows` are the values so far that have three dimensions in the model and four here."""

    def __init__(self, model: onnx.ModelProto, sizes: dict[str, tuple[int | None, ...]]) -> None:
        self.graph = model.graph
        self.sizes = sizes
        self.stored = tensors(model.graph)
        self.windows: set[str] = set()
        self.widened: set[str] = set()  # stored tensors that have their row

    def flatten_input(self, source: onnx.ValueInfoProto) -> None:
        """Let all that reads the vectors read a Flatten of the image of one pixel."""
        features = f"{source.name}.features"
        rename_input(self.graph, source.name, features)
        self.graph.node.insert(0, helper.make_node("Flatten", [source.name], [features], features, axis=1))
        for _ in range(2):
            source.type.tensor_type.shape.dim.add(dim_value=1)
        self.sizes[features] = self.sizes[source.name]

    def visit(self, node: onnx.NodeProto) -> None:
        """Rewrite a node so that it takes and writes images, or give it windows as before."""
        rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        image = len(self.sizes.get(node.output[0], ())) == 4 and node.op_type != "Unsqueeze"
        if rule is not None and (image or rule(self, node)):
            return  # what the model itself made an image of is one here
        for index, name in enumerate(node.input):
            if name in self.windows and node.op_type not in ("Flatten", "Shape"):
                node.input[index] = self._own(name, node)

    def _own(self, name: str, reader: onnx.NodeProto) -> str:
        """The value with the model's own dimensions, made in front of the node that reads it."""
        own = f"{name}.window"
        if own not in self.sizes:
            self.sizes[own] = self.sizes[name]
            set_tensor(self.graph, f"{own}.shape", np.array([-1, *self.sizes[name][1:]], np.int64))
            made = helper.make_node("Reshape", [name, f"{own}.shape"], [own], own)
            made.metadata_props.extend(reader.metadata_props)
            self.graph.node.insert(list(self.graph.node).index(reader), made)
        return own

    def reads_windows(self, node: onnx.NodeProto) -> bool:
        """True if the first input is a window."""
        return bool(node.input) and node.input[0] in self.windows

    def widen(self, name: str, fewest: int) -> None:
        """Give a stored tensor of so many dimensions or more its row."""
        if name in self.stored and name not in self.widened and self.stored[name].ndim >= fewest:
            set_tensor(self.graph, name, with_row(self.stored[name]))
            self.widened.add(name)

    def drop(self, node: onnx.NodeProto) -> None:
        """Remove a node that changes nothing here."""
        self.graph.node.remove(node)
        rename_input(self.graph, node.output[0], node.input[0])

    def state_sizes(self) -> None:
        """Say the sizes of the images anew, which inference cannot tell of every norm."""
        kept = [info for info in self.graph.value_info if info.name not in self.windows]
        del self.graph.value_info[:]
        self.graph.value_info.extend(kept)
        inputs = {value.name for value in self.graph.input}
        for name in sorted(self.windows - inputs):
            size = self.sizes.get(name, ())
            if len(size) == 3:
                named = ["images" if dim is None else dim for dim in (*size[:ROW], 1, *size[ROW:])]
                self.graph.value_info.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, named))


def _same(walk: _Walk, node: onnx.NodeProto) -> bool:
    """Norms and averages of whole channels, whose stored vectors have a number a channel."""
    if not walk.reads_windows(node):
        return False
    walk.windows.add(node.output[0])
    return True


def _elementwise(walk: _Walk, node: onnx.NodeProto) -> bool:
    """Operators of each element; what is stored beside the windows is aligned with them from the right."""
    values = [name for name in node.input if name and name not in walk.stored]
    if not values or not walk.windows.issuperset(values):
        return False
    for name in node.input:
        walk.widen(name, 2)
    walk.windows.add(node.output[0])
    return True


def _windowed(walk: _Walk, node: onnx.NodeProto) -> bool:
    """Convolutions and pooling."""
    if not walk.reads_windows(node):
        return False
    window_over_row(node)
    for name in node.input[1:2]:
        walk.widen(name, 3)
    walk.windows.add(node.output[0])
    return True


def _layer_norm(walk: _Walk, node: onnx.NodeProto) -> bool:
    """Over a whole window; that over its last axis alone is none of images."""
    if not walk.reads_windows(node) or attributes(node).get("axis", -1) not in (1, -2):
        return False
    set_attributes(node, axis=1)
    for name in node.input[1:]:
        walk.widen(name, 2)
    walk.windows.add(node.output[0])
    return True


def _joined(walk: _Walk, node: onnx.NodeProto) -> bool:
    """Concat and Gather: an axis counted from the end, or behind the channels, has another number here."""
    values = [name for name in node.input if name not in walk.stored]
    axis = int(attributes(node).get("axis", 0)) % 3
    if not values or not walk.windows.issuperset(values) or len(walk.sizes.get(node.output[0], ())) != 3:
        return False
    set_attributes(node, axis=axis + (axis >= ROW))
    walk.windows.add(node.output[0])
    return True


def _slice(walk: _Walk, node: onnx.NodeProto) -> bool:
    """Slice with stored axes."""
    axes = walk.stored.get(node.input[3]) if len(node.input) > 3 else None
    if not walk.reads_windows(node) or axes is None:
        return False
    node.input[3] = _numbers(walk, node, "axes", axes % 3 + (axes % 3 >= ROW))
    walk.windows.add(node.output[0])
    return True


def _pad(walk: _Walk, node: onnx.NodeProto) -> bool:
    """Pad with stored numbers: nothing is put around the row."""
    pads = walk.stored.get(node.input[1]) if len(node.input) > 1 else None
    if not walk.reads_windows(node) or pads is None:
        return False
    listed = len(node.input) > 3 and bool(node.input[3])
    if listed and (axes := walk.stored.get(node.input[3])) is not None:
        node.input[3] = _numbers(walk, node, "axes", axes % 3 + (axes % 3 >= ROW))
    elif not listed and len(pads) == 6:
        node.input[1] = _numbers(walk, node, "pads", np.insert(pads, [ROW, 3 + ROW], 0))
    else:
        return False
    walk.windows.add(node.output[0])
    return True


def _resize(walk: _Walk, node: onnx.NodeProto) -> bool:
    """Resize with stored scales, or to a stored length."""
    axes, scales = attributes(node).get("axes"), walk.stored.get(node.input[2]) if len(node.input) > 2 else None
    if not walk.reads_windows(node):
        return False
    if axes is not None:
        set_attributes(node, axes=[axis % 3 + (axis % 3 >= ROW) for axis in axes])
    elif scales is not None and len(scales) == 3:
        node.input[2] = _numbers(walk, node, "scales", np.insert(scales, ROW, 1))
    else:
        return False
    walk.windows.add(node.output[0])
    return True


def _numbers(walk: _Walk, node: onnx.NodeProto, role: str, array: np.ndarray) -> str:
    """Stored numbers of a node's own; their name."""
    name = f"{node.output[0]}.{role}"
    set_tensor(walk.graph, name, array)
    return name


def _unsqueeze(walk: _Walk, node: onnx.NodeProto) -> bool:
    """A row of height 1 is there already."""
    axes = walk.stored.get(node.input[1]) if len(node.input) > 1 else None
    if not walk.reads_windows(node) or axes is None or [int(axis) % 4 for axis in axes.reshape(-1)] != [ROW]:
        return False
    walk.drop(node)
    return True


def _squeeze(walk: _Walk, node: onnx.NodeProto) -> bool:
    """The row of an image that the model made of a window stays."""
    axes = walk.stored.get(node.input[1]) if len(node.input) > 1 else None
    before = walk.sizes.get(node.input[0], ())
    if axes is None or len(before) != 4 or [int(axis) % 4 for axis in axes.reshape(-1)] != [ROW]:
        return False
    walk.drop(node)
    walk.windows.add(node.input[0])
    walk.sizes[node.input[0]] = walk.sizes[node.output[0]]
    return True


RULES: Mapping[str, Callable[[_Walk, onnx.NodeProto], bool]] = MappingProxyType(
    {
        **dict.fromkeys(ELEMENTWISE, _elementwise),
        "BatchNormalization": _same,
        "InstanceNormalization": _same,
        "GroupNormalization": _same,
        "ChannelNormalization": _same,
        "GlobalAveragePool": _same,
        "Conv": _windowed,
        "ConvTranspose": _windowed,
        "MaxPool": _windowed,
        "AveragePool": _windowed,
        "LayerNormalization": _layer_norm,
        "Concat": _joined,
        "Gather": _joined,
        "Slice": _slice,
        "Pad": _pad,
        "Resize": _resize,
        "Unsqueeze": _unsqueeze,
        "Squeeze": _squeeze,
    }
)
