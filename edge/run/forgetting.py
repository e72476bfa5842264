"""Which samples are never forgotten, in one byte per sample (Toneva et al., as MEST's data efficiency uses it)."""

from __future__ import annotations

import numpy as np

from edge.chance import permutation

_CORRECT, _LEARNED, _FORGOTTEN, _DROPPED = 1, 2, 4, 8


class Forgetting:
    """Marks of every sample of a set. A forgetting event is: correct, then wrong, between two presentations."""

    def __init__(self, samples: int, marks: np.ndarray | None = None) -> None:
        self.marks = np.zeros(samples, dtype=np.uint8) if marks is None else marks

    def observe(self, samples: np.ndarray, correct: np.ndarray) -> None:
        """Note which of the presented samples were classified correctly, bool `(n,)`."""
        before = self.marks[samples]
        forgotten = (before & _CORRECT).astype(bool) & ~correct
        after = before & ~np.uint8(_CORRECT)
        after[correct] |= _CORRECT | _LEARNED
        after[forgotten] |= _FORGOTTEN
        self.marks[samples] = after

    def drop_unforgotten(self, samples: np.ndarray, whole: int = 1, seed: int = 0) -> int:
        """Drop those of `samples` that were learned and never forgotten; the number dropped.

        That number is a multiple of `whole`, the batch size: only whole batches save a step, and the smaller batch at
        the end of an epoch keeps the size that was planned for. Which ones stay for that is drawn by `seed`. Nothing
        is dropped where that would leave no sample at all.
        """
        marks = self.marks[samples]
        easy = ((marks & _LEARNED) != 0) & ((marks & _FORGOTTEN) == 0)
        if easy.all():
            return 0
        found = samples[easy]
        count = len(found) // whole * whole
        self.marks[found[permutation(len(found), seed)[:count]]] |= _DROPPED
        return count

    def kept(self, samples: np.ndarray) -> np.ndarray:
        """The samples that are still trained on."""
        return samples[(self.marks[samples] & _DROPPED) == 0]
