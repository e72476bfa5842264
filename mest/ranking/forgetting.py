"""Forgetting events per training sample, counted exactly while training, in constant memory per sample.

Toneva et al., "An Empirical Study of Example Forgetting during Deep Neural Network Learning" (ICLR 2019), section 3: a
sample is forgotten when it is classified correctly at one of its presentations and wrongly at the next one; a sample
that was never classified correctly counts the maximum. The study keeps the list of all outcomes of every sample;
whether the *last* one was correct, whether *any* was, and two counters carry the same information.

A presentation is what the caller says it is. Nothing here depends on the order in which different samples come, so
shuffling, batch size and the number of loader workers cannot matter; only the order of one sample's own presentations
does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mest.errors import DamagedError

Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

COUNTER = np.uint16
MOST_PRESENTATIONS = int(np.iinfo(COUNTER).max)


class ForgettingTracker:
    """Forgetting counts of `samples` training samples: two bits and two 16-bit counters each (4.25 bytes)."""

    def __init__(self, samples: int) -> None:
        if samples < 1:
            raise ValueError(f"a tracker of {samples} samples; it needs at least one")
        self.samples = samples
        self._last_correct = np.zeros((samples + 7) // 8, np.uint8)  # bit i & 7 of byte i >> 3 belongs to sample i
        self._learned = np.zeros_like(self._last_correct)
        self._forgotten = np.zeros(samples, COUNTER)
        self._presented = np.zeros(samples, COUNTER)

    def update(self, indices: npt.ArrayLike, correct: npt.ArrayLike) -> None:
        """Count one presentation of each sample in `indices` (n,), `correct` (n,) saying how it was classified.

        A sample that occurs several times in `indices` was presented several times, in that order. Raises ValueError
        for an index outside the data or arrays that do not belong together; nothing is counted then.
        """
        index = np.asarray(indices, np.int64).reshape(-1)
        right = np.asarray(correct, np.bool_).reshape(-1)
        if index.shape != right.shape:
            raise ValueError(f"{index.size} indices with {right.size} outcomes; each presentation has one of each")
        if index.size == 0:
            return
        if index.min() < 0 or index.max() >= self.samples:
            raise ValueError(f"sample indices {index.min()} to {index.max()} with {self.samples} samples")
        rounds = _one_of_each(index)
        if int(self._presented[index].max()) + len(rounds) > MOST_PRESENTATIONS:
            raise ValueError(f"more than {MOST_PRESENTATIONS} presentations of one sample")
        for chosen in rounds:
            self._present_once(index[chosen], right[chosen])

    def _present_once(self, index: Indices, right: Flags) -> None:
        """Count presentations of samples that are all different."""
        self._forgotten[index] += self.last_correct(index) & ~right
        self._presented[index] += COUNTER(1)
        _write_bits(self._last_correct, index, right)
        _write_bits(self._learned, index[right], np.ones(int(right.sum()), np.bool_))

    def last_correct(self, indices: Indices) -> Flags:
        """Whether each sample was right at its latest presentation; False before the first."""
        return _read_bits(self._last_correct, indices)

    def learned(self) -> Flags:
        """Whether each sample (samples,) was right at any presentation."""
        return _read_bits(self._learned, np.arange(self.samples))

    def presentations(self) -> Indices:
        """How often each sample (samples,) was presented."""
        return self._presented.astype(np.int64)

    def counts(self) -> Indices:
        """Forgetting events of each sample (samples,); a never-learned sample counts the most presentations of any.

        A learned sample is forgotten at most at every second presentation, so never-learned ones stand alone at the
        top. A sample that was never presented was never learned either.
        """
        return np.where(self.learned(), self._forgotten, self._presented.max()).astype(np.int64)

    def state_dict(self) -> dict[str, Any]:
        """Tensors from which `load_state_dict` continues exactly; loadable with weights_only."""
        return {
            "samples": self.samples,
            "last_correct": torch.from_numpy(self._last_correct.copy()),
            "learned": torch.from_numpy(self._learned.copy()),
            "forgotten": torch.from_numpy(self._forgotten.astype(np.int32)),
            "presented": torch.from_numpy(self._presented.astype(np.int32)),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`; raises DamagedError if it counts another number of samples."""
        if state.get("samples") != self.samples:
            raise DamagedError(
                f"forgetting statistics of {state.get('samples')} samples, but the data has {self.samples}; "
                "resume with the data that the run was started with"
            )
        self._last_correct = state["last_correct"].numpy().copy()
        self._learned = state["learned"].numpy().copy()
        self._forgotten = state["forgotten"].numpy().astype(COUNTER)
        self._presented = state["presented"].numpy().astype(COUNTER)


def _one_of_each(index: Indices) -> list[npt.NDArray[np.intp]]:
    """Positions split into rounds: the k-th round holds the k-th occurrence of each sample."""
    order = np.argsort(index, kind="stable")
    ordered = index[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    occurrence = np.arange(index.size) - np.repeat(starts, np.diff(np.r_[starts, index.size]))
    return [order[occurrence == k] for k in range(int(occurrence.max()) + 1)]


def _read_bits(packed: npt.NDArray[np.uint8], index: Indices) -> Flags:
    return (packed[index >> 3] >> (index & 7).astype(np.uint8) & 1).astype(np.bool_)


def _write_bits(packed: npt.NDArray[np.uint8], index: Indices, values: Flags) -> None:
    """Set the bits of samples that are all different; neighbours share a byte, hence the unbuffered forms."""
    bit = (1 << (index & 7)).astype(np.uint8)
    np.bitwise_and.at(packed, index >> 3, ~bit)
    np.bitwise_or.at(packed, index[values] >> 3, bit[values])
