"""Hard swish, MobileNetV3's activation."""

from __future__ import annotations

from dataclasses import dataclass

from edge.network.operators.operator import Operator


@dataclass(frozen=True)
class HardSwish(Operator):
    """x · min(max(x + 3, 0), 6) / 6 (Howard et al., "Searching for MobileNetV3", section 5.2)."""

    op = "hard_swish"
