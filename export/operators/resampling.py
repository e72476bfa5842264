"""Pad and Resize of rows and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx

from edge.network import Operator, ShapeError
from edge.network.operators.resampling import COORDINATES, Pad, Resample, ResizeLinear, ResizeNearest
from export.graph import attributes
from export.operators.lowering import Lowering, decimal
from export.operators.relation import CHANNELWISE, UNKNOWN, Channels, Relation
from export.operators.rule import Rule

FILLS = {"constant": "zeros", "reflect": "reflect", "edge": "replicate"}  # by ONNX's mode

Size = Sequence[int | None]


class UseError(ValueError):
    """A node does something that no operator of the network does."""


class ResampleRule(Rule):
    """A node that `resample_of` knows."""

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """Rows and columns alone."""
        try:
            found = resample_of(node, lowering.sizes.get(node.input[0], ()), (None, *shape), lowering.constants)
        except (UseError, ShapeError) as refused:
            raise lowering.refused(node, str(refused)) from refused
        return replace(found, name=node.output[0], inputs=lowering.inputs(node), shape=shape)

    def relation(self, node: onnx.NodeProto, graph: Channels) -> Relation:
        """Each channel by itself, where its numbers are stored and leave the channels alone."""
        sizes = graph.sizes.get(node.input[0], ()), graph.sizes.get(node.output[0], ())
        try:
            resample_of(node, *sizes, graph.weights)
        except (UseError, ShapeError):
            return UNKNOWN
        return CHANNELWISE


def resample_of(node: onnx.NodeProto, before: Size, after: Size, constants: Mapping[str, np.ndarray]) -> Resample:
    """What a Pad or Resize does to images (n, c, h, w), or to windows (n, c, l) as to images of height 1.

    The operator has no name and no inputs. Raises UseError for what the network has not.
    """
    if len(before) not in (3, 4) or len(after) != len(before) or None in (*before[1:], *after[1:]):
        raise UseError("only images (n, c, h, w) and windows (n, c, l) of fixed size can be padded or resized")
    found = (_pad if node.op_type == "Pad" else _resize)(node, before, after, constants)
    found.output_shape((1, *_pair(before[2:])))
    return found


def _pad(node: onnx.NodeProto, before: Size, after: Size, constants: Mapping[str, np.ndarray]) -> Pad:
    mode = attributes(node).get("mode", "constant")
    if mode not in FILLS:
        raise UseError(f"mode {mode}: only {', '.join(FILLS)} are supported")
    pads, value, axes = (constants.get(name) for name in [*node.input[1:], "", "", ""][:3])
    if pads is None or any(name and name not in constants for name in node.input[2:]):
        raise UseError("only a stored padding is supported")
    if value is not None and value.any():
        raise UseError(f"a padding of {float(value.reshape(-1)[0]):g}: only that with 0 is supported")
    count = len(pads) // 2
    listed = range(count) if axes is None else [int(axis) % len(before) for axis in axes]
    ends = {axis: (int(pads[place]), int(pads[place + count])) for place, axis in enumerate(listed)}
    if any(ends.get(axis, (0, 0)) != (0, 0) for axis in (0, 1)):
        raise UseError("only rows and columns can be padded, not channels")
    (top, bottom), (left, right) = [(0, 0), *(ends.get(axis, (0, 0)) for axis in range(2, len(before)))][-2:]
    return Pad("", (), (), (top, left, bottom, right), FILLS[mode])


def _resize(node: onnx.NodeProto, before: Size, after: Size, constants: Mapping[str, np.ndarray]) -> Resample:
    values = attributes(node)
    mode, coordinates = values.get("mode", "nearest"), values.get("coordinate_transformation_mode", "half_pixel")
    if mode not in ("nearest", "linear") or coordinates not in COORDINATES:
        raise UseError(
            f"mode {mode} with coordinates {coordinates}: only nearest and linear with {', '.join(COORDINATES)} are "
            "supported"
        )
    if values.get("antialias") or values.get("exclude_outside") or before[1] != after[1]:
        raise UseError("antialias, exclude_outside and other numbers of channels are not supported")
    size = _pair(after[2:])
    scale = _scale(node, before, size, constants)
    if mode == "linear":
        return ResizeLinear("", (), (), size, coordinates, scale)
    return ResizeNearest("", (), (), size, coordinates, scale, values.get("nearest_mode", "round_prefer_floor"))


def _scale(
    node: onnx.NodeProto, before: Size, size: tuple[int, int], constants: Mapping[str, np.ndarray]
) -> tuple[float, float] | None:
    """What a node is asked to multiply height and width by; None where that is what its sizes say."""
    if len(node.input) < 3 or not node.input[2]:
        return None
    if node.input[2] not in constants:
        raise UseError("only stored scales are supported")
    stored = constants[node.input[2]].reshape(-1)
    axes = attributes(node).get("axes", range(len(stored)))
    asked = {int(axis) % len(before): decimal(scale) for axis, scale in zip(axes, stored, strict=True)}
    height, width = (asked.get(axis, 1.0) for axis in (len(before) - 2, len(before) - 1))
    height = height if len(before) == 4 else 1.0
    old = _pair(before[2:])
    return None if (height, width) == (size[0] / old[0], size[1] / old[1]) else (height, width)


def _pair(sizes: Size) -> tuple[int, int]:
    """Height and width; a window's height is 1."""
    height, width = [1, *(int(size or 0) for size in sizes)][-2:]
    return height, width
