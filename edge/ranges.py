"""The numbers that a setting takes, by its field: one table for the command line, runs, plans and optimizers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge.errors import InputError
from edge.spelling import named


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`; an open end is not itself allowed. Infinity and not-a-number never are."""

    low: float
    high: float = math.inf
    open_high: bool = False

    def holds(self, value: float) -> bool:
        """True if the value is allowed."""
        below = value < self.high if self.open_high else value <= self.high
        return (isinstance(value, int) or math.isfinite(value)) and self.low <= value and below

    def describe(self, value: float) -> str:
        """What is allowed, as a message about a value says it: the end of a count matters to few."""
        if self.high == math.inf or (self.high >= _MOST and value < self.low):
            return f"{self.low} or more"
        return f"from {self.low} {'to below' if self.open_high else 'to'} {self.high}"


_MOST = 2**31 - 1
COUNT = Range(1, _MOST)
COUNT_OR_NONE = Range(0, _MOST)
SHARE = Range(0, 1, open_high=True)
NOT_NEGATIVE = Range(0)

# Those of an optimizer and of label smoothing are PyTorch's.
RANGES: Mapping[str, Range] = {
    "learning_rate": NOT_NEGATIVE,
    "momentum": NOT_NEGATIVE,
    "weight_decay": NOT_NEGATIVE,
    "beta1": SHARE,
    "beta2": SHARE,
    "epsilon": NOT_NEGATIVE,
    "label_smoothing": Range(0, 1),
    "epochs": COUNT,
    "batch_size": COUNT,
    "micro_batch": COUNT,
    "threads": Range(1, 1024),
    "warmup": SHARE,
    "gamma": Range(0, 1),
    "hold_out": SHARE,
    "mutate_every": COUNT,
    "gradient_weight": NOT_NEGATIVE,
    "patience": COUNT_OR_NONE,
    "drop_after": COUNT_OR_NONE,
    "save_every": COUNT,
    "steps": COUNT,
    "top": COUNT,
    "progress": Range(0, 1),
    "bundle_version": COUNT,
    "at_once": COUNT,
    "health_drop": Range(0, 1),
    "seed": Range(0, 2**63 - 1),
}


def outside(values: Mapping[str, Any]) -> list[str]:
    """What is wrong with settings that are numbers, one sentence each; None is one that was not given."""
    return [
        f"{named(name)} {value}: must be {RANGES[name].describe(value)}"
        for name, value in values.items()
        if value is not None and not RANGES[name].holds(value)
    ]


def check_ranges(values: Mapping[str, Any]) -> None:
    """Raise InputError that names every setting outside its range."""
    wrong = outside(values)
    if wrong:
        raise InputError("; ".join(wrong))
