"""Channel shuffles: channels reshaped into axes of their own, permuted, and flattened (Zhang et al., section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import onnx

from edge.network import Operator, Select
from export.graph import attributes
from export.operators.lowering import Lowering
from export.operators.pattern import Match, Pattern
from export.operators.relation import CHANNELS


@dataclass(frozen=True, eq=False)
class Shuffle(Match):
    """The channels of one value in another order."""

    reads: tuple[str, ...]
    order: np.ndarray

    def lower(self, node: onnx.NodeProto, shape: tuple[int, ...], lowering: Lowering) -> Operator:
        """A selection of all channels."""
        (source,) = self.reads
        channels = lowering.listed(f"{node.output[0]}{CHANNELS}", self.order)
        return Select(node.output[0], (lowering.names[source],), shape, channels=channels)


class ChannelShuffle(Pattern):
    """Reshape, Transpose and Reshape, as `nn.ChannelShuffle` and views write it."""

    def find(self, node: onnx.NodeProto, lowering: Lowering) -> Match | None:
        """The value whose channels the last Reshape has, in the order that the nodes give them."""
        found = [node]
        for kind in ("Transpose", "Reshape"):
            maker = lowering.makers.get(found[-1].input[0]) if found[-1].input else None
            if maker is None or maker.op_type != kind:
                return None
            found.append(maker)
        last, transpose, first = found
        if last.op_type != "Reshape":
            return None
        source = first.input[0]
        before, split, after = (lowering.sizes.get(name, ()) for name in (source, first.output[0], last.output[0]))
        if len(before) < 2 or before != after or before[0] is not None or None in (*before[1:], *split[1:]):
            return None
        sizes, rest = [int(size or 0) for size in split[1:]], before[2:]
        axes = len(sizes) - len(rest)  # that the channels are cut into
        order = attributes(transpose).get("perm", list(reversed(range(len(split)))))
        kept = [0, *range(axes + 1, len(split))]
        if tuple(sizes[axes:]) != rest or prod(sizes[:axes]) != before[1] or [order[axis] for axis in kept] != kept:
            return None
        channels = np.arange(before[1]).reshape(sizes[:axes]).transpose([axis - 1 for axis in order[1 : axes + 1]])
        return Shuffle((source,), channels.reshape(-1))
