"""What a demo's material has in common: samples to look at, and the command that writes it all."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Sample:
    """One held-out sample of a class: as it was learnt, and as the board meets it.

    Images uint8 `(h, w)`, or windows int16 `(channels, length)`.
    """

    label: str
    old: Values
    new: Values


def one_of_each(pool: Values, labels: Values, count: int, seed: int) -> list[int]:
    """Indices of the pool, class by class in turn, drawn by seed."""
    order = np.random.default_rng([seed, 0x5A]).permutation(pool)
    classes = np.unique(labels)
    ranked = {label: [int(i) for i in order if labels[i] == label] for label in classes}
    return [ranked[classes[k % len(classes)]][k // len(classes)] for k in range(count)]


def write(about: str, module: str, make: Callable[[Path, int, int], tuple[Path, ...]]) -> None:
    """Write the files that the options ask for, with `make(folder, seed, samples)`, and print one JSON object."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    files = make(given.out, given.seed, given.samples)
    sys.stdout.write(json.dumps({"files": [str(file) for file in files]}) + "\n")
