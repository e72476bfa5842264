"""Activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge.network.operators.operator import Operator


@dataclass(frozen=True)
class Relu(Operator):
    """max(x, 0)."""

    op = "relu"

    @property
    def gradient_reads(self) -> Literal["output"]:
        """Its value: positive where the input was."""
        return "output"


@dataclass(frozen=True)
class Relu6(Operator):
    """min(max(x, 0), 6)."""

    op = "relu6"
