"""Positions gathered one by one → Resize, as PyTorch's exporter writes nearest-exact, and linear along windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from edge.network.operators.resampling import Resize, ResizeLinear, ResizeNearest
from export.graph import attributes, producers, remove_unused, set_tensor, shapes, tensors

CLOSE = 1e-5  # of float32 weights, near 1 at the most


def restore_gathered_resize(model: onnx.ModelProto) -> int:
    """Turn what gathers the positions of a Resize into that Resize; return how many.

    Requires known sizes and folded constants. Ensures equal values to float32 rounding of the weights between two
    positions. What gathers in another order stays.
    """
    graph = model.graph
    found = _Gathers(model)
    changed = found.replace("Add", found.linear)
    remove_unused(graph)
    return changed + found.replace("Transpose", found.nearest)


@dataclass(frozen=True)
class _Gathered:
    """A value gathered from the source: which of its positions, by axis behind the channels."""

    source: str
    positions: tuple[np.ndarray, ...]


class _Gathers:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph, self.sizes = model.graph, shapes(model)
        self.constants, self.makers = tensors(model.graph), producers(model.graph)

    def replace(self, kind: str, make: Callable[[onnx.NodeProto], onnx.NodeProto | None]) -> int:
        """Put what `make` gives in the place of nodes of a kind; return how many."""
        changed = 0
        for index, node in reversed(list(enumerate(self.graph.node))):
            made = make(node) if node.op_type == kind else None
            if made is None:
                continue
            made.metadata_props.extend(node.metadata_props)
            self.graph.node.remove(node)
            self.graph.node.insert(index, made)
            changed += 1
        return changed

    def nearest(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """The Resize to the nearest positions that a node, the last of a gather, completes."""
        found = self._gathered(node)
        old = self.sizes.get(found.source, ())[2:] if found else ()
        if found is None or None in old:
            return None
        size = _pair([positions.size for positions in found.positions])
        for coordinates, rounding in (("half_pixel", "round_prefer_ceil"), ("asymmetric", "floor")):
            asked = ResizeNearest("", (), (), size, coordinates, None, rounding)
            height, width = _pair(old)
            taps = [asked.taps(0, height), asked.taps(1, width)][-len(old) :]
            if all(np.array_equal(one.sources, places) for one, places in zip(taps, found.positions, strict=True)):
                return self._resize(node, found.source, asked, mode="nearest", nearest_mode=rounding)
        return None

    def linear(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """The Resize between two positions of windows, a + (b - a) · share, that a sum completes."""
        first, product = (self.makers.get(name) for name in node.input)
        share = self.constants.get(product.input[1]) if product is not None and product.op_type == "Mul" else None
        difference = self.makers.get(product.input[0]) if product is not None and share is not None else None
        if difference is None or difference.op_type != "Sub" or difference.input[1] != node.input[0]:
            return None
        low, high = self._gathered(first), self._gathered(self.makers.get(difference.input[0]))
        if low is None or high is None or low.source != high.source or len(low.positions) != 1:
            return None
        (old,) = self.sizes.get(low.source, ())[2:]
        (at,), (after,), count = low.positions, high.positions, low.positions[0].size
        if old is None or share is None or share.shape != (count,):
            return None
        matrix = np.zeros((count, old))
        np.add.at(matrix, (np.arange(count), at), 1 - share)
        np.add.at(matrix, (np.arange(count), after), share)
        for coordinates in ("half_pixel", "align_corners"):
            asked = ResizeLinear("", (), (), (1, count), coordinates, None)
            if np.allclose(asked.taps(1, old).matrix(), matrix, rtol=0, atol=CLOSE):
                return self._resize(node, low.source, asked, mode="linear")
        return None

    def _gathered(self, back: onnx.NodeProto | None) -> _Gathered | None:
        """What Transpose → GatherND of stored positions → Transpose gathers, where each axis goes by itself."""
        gather = self.makers.get(back.input[0]) if back is not None and back.op_type == "Transpose" else None
        forth = self.makers.get(gather.input[0]) if gather is not None and gather.op_type == "GatherND" else None
        if back is None or gather is None or forth is None or forth.op_type != "Transpose":
            return None
        rank = len(self.sizes.get(forth.input[0], ()))
        behind = list(range(2, rank))
        if rank not in (3, 4) or attributes(forth).get("perm") != [*behind, 0, 1]:
            return None
        indices = self.constants.get(gather.input[1])
        ahead = rank - 2
        if attributes(back).get("perm") != [ahead, ahead + 1, *range(ahead)] or attributes(gather).get("batch_dims"):
            return None
        if indices is None or indices.ndim != ahead + 1 or indices.shape[-1] != ahead:
            return None
        lines = [np.moveaxis(indices[..., axis], axis, 0).reshape(indices.shape[axis], -1) for axis in range(ahead)]
        if any((line != line[:, :1]).any() for line in lines):
            return None
        return _Gathered(forth.input[0], tuple(line[:, 0] for line in lines))

    def _resize(self, node: onnx.NodeProto, source: str, asked: Resize, **values: str) -> onnx.NodeProto:
        output, rank = node.output[0], len(self.sizes[source])
        set_tensor(self.graph, f"{output}.sizes", np.array(asked.size[4 - rank :], np.int64))
        inputs, axes = [source, "", "", f"{output}.sizes"], list(range(2, rank))
        return helper.make_node(
            "Resize", inputs, [output], output, coordinate_transformation_mode=asked.coordinates, axes=axes, **values
        )


def _pair(sizes: Sequence[int | None]) -> tuple[int, int]:
    """Height and width; a window's height is 1."""
    height, width = [1, *(int(size or 0) for size in sizes)][-2:]
    return height, width
