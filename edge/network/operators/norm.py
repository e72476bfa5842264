"""Normalisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from edge.network.operators.fields import Flag, Number, holds
from edge.network.operators.operator import Operator
from edge.network.operators.roles import Statistic, Vector


@dataclass(frozen=True)
class BatchNorm(Operator):
    """Normalisation per channel. In training the running statistics move: running ← (1−m)·running + m·batch,
    with the unbiased variance, as in PyTorch. One that is `frozen` normalises by them in training too, and leaves them
    as they are."""

    op = "batch_norm"
    scale: str = field(metadata=holds(Vector()))
    shift: str = field(metadata=holds(Vector()))
    mean: str = field(metadata=holds(Statistic()))
    variance: str = field(metadata=holds(Statistic()))
    epsilon: float = field(metadata=holds(Number(1e-30, 1e6)))
    momentum: float = field(metadata=holds(Number(0.0, 1.0)))
    frozen: bool = field(default=False, metadata=holds(Flag(default=False)))

    def trained_with_layer(self) -> tuple[str, ...]:
        """Scale and shift."""
        return self.scale, self.shift

    def uses_batch(self) -> bool:
        """True unless it is frozen."""
        return not self.frozen

    def has_spread(self, samples: int) -> bool:
        """True if a batch of so many samples gives each channel more than one value.

        One value alone has no variance: a batch norm would write its shift whatever came in, and run its variance down
        to nothing. Such a batch is normalised by the running statistics, which stay as they are.
        """
        return samples * prod(self.shape[1:]) > 1
