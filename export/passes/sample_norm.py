"""What PyTorch writes group norm and layer norm over channels with → one node each, as the native network has them.

Not part of `normalise`: no runtime knows the nodes that come of it. Lowering alone reads them, in a copy of the graph.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from export.graph import attributes, consumers, producers, remove_unused, set_attributes, set_tensor, shapes, tensors

GROUP_NORM = "GroupNormalization"  # as ONNX has it from version 21 on; "" for a scale or shift that is not there
CHANNEL_NORM = "ChannelNormalization"  # a LayerNormalization over axis 1 alone

Sizes = dict[str, tuple[int | None, ...]]

TURNED = ([[0, 2, 3, 1], [0, 3, 1, 2]], [[0, 2, 1], [0, 2, 1]])  # channels last and first again: images, windows


def join_sample_norms(model: onnx.ModelProto) -> int:
    """Turn InstanceNormalization of reshaped groups into GroupNormalization, and LayerNormalization between two
    Transposes into ChannelNormalization; return how many.

    Requires folded constants and known sizes. Ensures that the value behind keeps its name and shape.
    """
    graph, sizes = model.graph, shapes(model)
    changed = sum(_join_group_norm(graph, sizes, node) for node in _of_kind(graph, "InstanceNormalization"))
    changed += sum(_join_channel_norm(graph, sizes, node) for node in _of_kind(graph, "LayerNormalization"))
    remove_unused(graph)
    return changed


def _of_kind(graph: onnx.GraphProto, kind: str) -> list[onnx.NodeProto]:
    return [node for node in graph.node if node.op_type == kind]


def _only_reader(graph: onnx.GraphProto, value: str, kind: str) -> onnx.NodeProto | None:
    """The one node that reads a value, if it is of that kind and nothing outside the graph reads it too."""
    readers = consumers(graph).get(value, [])
    inside = all(value != output.name for output in graph.output)
    return readers[0] if inside and len(readers) == 1 and readers[0].op_type == kind else None


def _join_group_norm(graph: onnx.GraphProto, sizes: Sizes, norm: onnx.NodeProto) -> int:
    before = producers(graph).get(norm.input[0])
    source, scale, shift = norm.input
    if before is None or before.op_type != "Reshape" or not (_is_all(graph, scale, 1) and _is_all(graph, shift, 0)):
        return 0
    source = before.input[0]
    whole, split = sizes.get(source, ()), sizes.get(norm.input[0], ())
    after = _only_reader(graph, norm.output[0], "Reshape")
    if len(whole) < 2 or len(split) != 3 or after is None or sizes.get(after.output[0]) != whole:
        return 0
    channels, groups = whole[1], split[1]
    if not channels or not groups or channels % groups:
        return 0
    last, names = after, ["", ""]
    for place, kind in enumerate(("Mul", "Add")):
        reader = _only_reader(graph, last.output[0], kind)
        vector = reader and _vector(graph, _other(reader, last.output[0]), channels, len(whole))
        if reader is None or vector is None:
            continue
        names[place] = vector
        last = reader
    _replace(graph, last, GROUP_NORM, [source, *names], norm, whole, num_groups=groups)
    return 1


def _join_channel_norm(graph: onnx.GraphProto, sizes: Sizes, norm: onnx.NodeProto) -> int:
    before = producers(graph).get(norm.input[0])
    after = _only_reader(graph, norm.output[0], "Transpose")
    if before is None or before.op_type != "Transpose" or after is None:
        return 0
    turned = [attributes(node).get("perm") for node in (before, after)]
    axis, rank = attributes(norm).get("axis", -1), len(sizes.get(norm.input[0], ()))
    if turned not in TURNED or axis % rank != rank - 1:
        return 0
    _replace(graph, after, CHANNEL_NORM, [before.input[0], *norm.input[1:]], norm, sizes[before.input[0]])
    return 1


def _replace(
    graph: onnx.GraphProto,
    last: onnx.NodeProto,
    kind: str,
    reads: list[str],
    norm: onnx.NodeProto,
    size: tuple[int | None, ...],
    **more: int,
) -> None:
    """Put one node that writes what `last` wrote in its place, and say the size, which inference cannot tell."""
    made = helper.make_node(kind, reads, list(last.output), last.name)
    set_attributes(made, epsilon=attributes(norm).get("epsilon", 1e-5), **more)
    made.metadata_props.extend(norm.metadata_props)
    at = list(graph.node).index(last)
    graph.node.remove(last)
    graph.node.insert(at, made)
    named = ["images" if dim is None else dim for dim in size]
    graph.value_info.append(helper.make_tensor_value_info(last.output[0], onnx.TensorProto.FLOAT, named))


def _other(node: onnx.NodeProto, value: str) -> str:
    """What a node of two inputs reads beside a value."""
    return node.input[1] if node.input[0] == value else node.input[0]


def _vector(graph: onnx.GraphProto, name: str, channels: int, rank: int) -> str | None:
    """The stored vector of one number a channel that multiplies an image under this name; None for anything else."""
    stored, maker = tensors(graph), producers(graph).get(name)
    beside = (channels, *[1] * (rank - 2))
    if maker is not None and maker.op_type == "Unsqueeze" and maker.input[0] in stored:
        axes = stored.get(maker.input[1])
        vector = stored[maker.input[0]]
        fits = axes is not None and vector.shape == (channels,) and sorted(axes) == list(range(1, rank - 1))
        return maker.input[0] if fits else None
    if name in stored and stored[name].shape == beside:
        set_tensor(graph, f"{name}.vector", stored[name].reshape(-1))
        return f"{name}.vector"
    return None


def _is_all(graph: onnx.GraphProto, name: str, number: float) -> bool:
    """True for a stored tensor of this number alone."""
    array = tensors(graph).get(name)
    return array is not None and bool(np.all(array == number))
