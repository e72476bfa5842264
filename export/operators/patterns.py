"""The patterns of several nodes that export looks for, in this order."""

from __future__ import annotations

import onnx

from export.operators.functions import WrittenOut
from export.operators.lowering import Lowering
from export.operators.pattern import Match, Pattern
from export.operators.shuffle import ChannelShuffle

PATTERNS: tuple[Pattern, ...] = (WrittenOut(), ChannelShuffle())


def match_of(node: onnx.NodeProto, lowering: Lowering) -> Match | None:
    """The first pattern that ends with a node."""
    return next((match for pattern in PATTERNS if (match := pattern.find(node, lowering)) is not None), None)
