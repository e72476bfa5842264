"""Random numbers as pure functions of a seed and a position: nothing to save, nothing to restore.

A run that resumes in the middle draws what an unbroken run would have drawn, on every platform and numpy version, and
the process holds no generator library (numpy.random alone is 7 MB resident).
"""

from __future__ import annotations

import numpy as np

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15


def mix(*numbers: int) -> int:
    """A 64-bit number that depends on every bit of every argument (SplitMix64's finaliser over each in turn)."""
    state = 0
    for number in numbers:
        state = (state + _STEP + (number & _MASK)) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def keys(key: int, count: int) -> np.ndarray:
    """`count` 64-bit numbers, uint64 `(count,)`: SplitMix64 started at `key`."""
    state = np.arange(1, count + 1, dtype=np.uint64)
    state *= np.uint64(_STEP)
    state += np.uint64(key)
    state ^= state >> np.uint64(30)
    state *= np.uint64(0xBF58476D1CE4E5B9)
    state ^= state >> np.uint64(27)
    state *= np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return state


def permutation(count: int, *key: int) -> np.ndarray:
    """The order of `count` things under a key, int32 `(count,)`."""
    return np.argsort(keys(mix(*key), count), kind="stable").astype(np.int32)
