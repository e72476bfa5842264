"""Flatten, Concat of channels, and Gather and Slice as a selection of channels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from edge.network import Flatten, Operator, Select
from edge.network.operators.arrangement import Reshape, Transpose
from edge.network.operators.concatenation import Concat
from export.graph import attributes
from export.operators.lowering import Lowering
from export.operators.relation import (
    CHANNELS,
    CHANNELWISE,
    SPREADING,
    UNKNOWN,
    Channels,
    Flattening,
    Joining,
    Picking,
    Relation,
)
from export.operators.rule import Rule

RESHAPE, EXCHANGE = "PositionsReshape", "ExchangeAxes"  # nodes in lowering's graph


class FlattenRule(Rule):
    """Flatten behind the batch."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """All of a sample in one row."""
        if attributes(node).get("axis", 1) != 1:
            raise lowering.refused(node, "only flattening behind the batch is supported")
        return Flatten(node.output[0], lowering.inputs(node), shape)

    def relation(self, node: onnx.NodeProto, graph: Channels) -> Relation:
        """A channel becomes features."""
        return Flattening() if attributes(node).get("axis", 1) == 1 else UNKNOWN


class ReshapeRule(Rule):
    """Positions in another number of rows, as `passes/channels_first.py` writes it."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """The same numbers."""
        values = attributes(node)
        height, channels = int(values["height"]), int(values.get("channels", 0))
        return Reshape(node.output[0], lowering.inputs(node), shape, height=height, channels=channels)


class ExchangeRule(Rule):
    """Two axes that change places, as `passes/rewriting.py` writes it."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """The numbers in their new order."""
        view = tuple(int(size) for size in attributes(node)["view"])
        return Transpose(node.output[0], lowering.inputs(node), shape, view=view)


class UnsqueezeRule(Rule):
    """Unsqueeze of a row of channels."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """An image of one cell."""
        if not _behind_channels(node, lowering.constants, len(shape) + 1) or len(shape) != 3:
            raise lowering.refused(node, "only a row of channels can become an image of one cell")
        return Reshape(node.output[0], lowering.inputs(node), shape, height=1)

    def relation(self, node: onnx.NodeProto, graph: Channels) -> Relation:
        """Each channel by itself, where the new axes are behind them; so a stored vector along the channels."""
        source, size = node.input[0], graph.sizes.get(node.output[0], ())
        if source in graph.weights:
            vector = graph.weights[source].ndim == 1 and size[1:2] == graph.weights[source].shape
            return SPREADING if vector else UNKNOWN
        return CHANNELWISE if _behind_channels(node, graph.weights, len(size)) else UNKNOWN


class GatherRule(Rule):
    """Gather of stored channels."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """The listed channels."""
        channels = lowering.channels(node, 1) if attributes(node).get("axis", 0) == 1 else None
        if channels is None:
            raise lowering.refused(node, "only a stored selection of channels is supported")
        return Select(node.output[0], lowering.inputs(node), shape, channels=channels)


class ConcatRule(Rule):
    """Concat of channels."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """The channels of all inputs."""
        if not _of_channels(attributes(node).get("axis", 0), len(shape)):
            raise lowering.refused(node, "only channels can be joined")
        return Concat(node.output[0], lowering.inputs(node, len(node.input)), shape)

    def relation(self, node: onnx.NodeProto, graph: Channels) -> Relation:
        """Each input's channels are a stretch of the output's, where none is stored."""
        rank = len(graph.sizes.get(node.output[0], ()))
        channels = _of_channels(attributes(node).get("axis", 0), rank - 1)
        return Joining() if channels and not graph.weights.keys() & set(node.input) else UNKNOWN


class SliceRule(Rule):
    """Slice of channels."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """The channels of the stretch."""
        listed = sliced(node, lowering.sizes.get(node.input[0], ()), lowering.constants)
        if listed is None:
            raise lowering.refused(node, "only a stored stretch of channels is supported")
        channels = lowering.listed(f"{node.output[0]}{CHANNELS}", listed)
        return Select(node.output[0], lowering.inputs(node), shape, channels=channels)

    def relation(self, node: onnx.NodeProto, graph: Channels) -> Relation:
        """Those channels of the input."""
        listed = sliced(node, graph.sizes.get(node.input[0], ()), graph.weights)
        return UNKNOWN if listed is None or node.input[0] in graph.weights else Picking(listed)


def sliced(
    node: onnx.NodeProto, size: tuple[int | None, ...], constants: Mapping[str, np.ndarray]
) -> np.ndarray | None:
    """The channels that a Slice keeps of a value; None where it cuts something else or its bounds are computed."""
    found = [constants.get(name) for name in node.input[1:]]
    if len(size) < 2 or size[1] is None or len(found) < 3 or any(one is None or one.size != 1 for one in found):
        return None
    first, end, axis, *step = (int(one.reshape(-1)[0]) for one in found if one is not None)
    if not _of_channels(axis, len(size) - 1):
        return None
    by = step[0] if step else 1
    listed = np.arange(size[1])[first : None if by < 0 and end < -size[1] else end : by]
    return listed if len(listed) else None


def _behind_channels(node: onnx.NodeProto, constants: Mapping[str, np.ndarray], rank: int) -> bool:
    """True if the axes that a node adds to a value, which then has `rank` with the batch's, are all behind channels."""
    axes = constants.get(node.input[1]) if len(node.input) > 1 else None
    return axes is not None and rank > 0 and all(int(axis) % rank > 1 for axis in np.atleast_1d(axes))


def _of_channels(axis: int, rank: int) -> bool:
    """True if an axis of a batch of values of `rank` dimensions is that of their channels."""
    return axis in (1, -rank)
