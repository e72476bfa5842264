"""One axis of a resampling: which positions each new one is made of, and with which weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Taps:
    """New position p is the sum of `weights[i]` times old position `sources[i]`, `starts[p]` <= i < `starts[p + 1]`.

    `size` is the number of old positions. A new one without entries is zero.
    """

    size: int
    starts: np.ndarray  # int32 (new + 1,)
    sources: np.ndarray  # int32 (entries,)
    weights: np.ndarray  # float64 (entries,)

    @classmethod
    def of(cls, size: int, sources: np.ndarray, weights: np.ndarray) -> Taps:
        """From `(new, k)` old positions and weights, of which those of 0 are left out."""
        there = weights != 0
        starts = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int32)
        return cls(size, starts, sources[there].astype(np.int32), weights[there].astype(np.float64))

    @property
    def count(self) -> int:
        """Number of new positions."""
        return self.starts.size - 1

    @property
    def targets(self) -> np.ndarray:
        """The new position of each entry, int32 `(entries,)`."""
        return np.repeat(np.arange(self.count, dtype=np.int32), np.diff(self.starts))

    def transposed(self) -> Taps:
        """The way of a gradient: each old position as the sum of the new ones that were made of it."""
        order = np.argsort(self.sources, kind="stable")
        counts = np.bincount(self.sources, minlength=self.size)
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        return Taps(self.count, starts, self.targets[order], self.weights[order])

    def matrix(self) -> np.ndarray:
        """The same as a matrix, float64 `(new, size)`."""
        matrix = np.zeros((self.count, self.size))
        np.add.at(matrix, (self.targets, self.sources), self.weights)
        return matrix
