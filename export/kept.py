"""What channel compaction left of a parameter, and the parameter of the whole network cut down to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Kept:
    """Which entries of a parameter are left, ascending, along its output and its input channels; None: all of them.

    `offered`: for a layer behind a Gather, the input channels that are there to be read.
    """

    outputs: np.ndarray | None
    inputs: np.ndarray | None
    offered: np.ndarray | None = None


def cut(array: np.ndarray, kept: Kept | None) -> np.ndarray:
    """A parameter of the whole network as the smaller one has it; None: nothing of it went."""
    if kept is None:
        return array
    if kept.outputs is not None:
        array = array[kept.outputs]
    return array if kept.inputs is None else array[:, kept.inputs]
