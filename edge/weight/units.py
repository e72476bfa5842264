"""What a mutation counts and chooses: units of a sparse weight, how many are kept, which go, which come.

A unit is a weight (irregular), a block, a 3×3 kernel (pattern) or an input channel. All units of a dense weight are
numbered in row-major order; a list of kept units ascends. Nothing here is as long as the dense weight.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from edge.chance import keys, mix
from edge.errors import InputError
from edge.spelling import named
from edge.weight.parameter import Parameter

_DECIMALS = 10**12  # sparsities are taken as the decimals that were typed, to so many places


def unit_grid(parameter: Parameter) -> tuple[int, int]:
    """Rows and columns of a weight's units: one row for channels, blocks of rows for block."""
    if parameter.scheme == "block":
        return parameter.rows // (parameter.height or 1), parameter.columns
    if parameter.scheme == "pattern":
        return parameter.rows, parameter.shape[1]
    if parameter.scheme == "channel":
        return 1, parameter.shape[1]
    return parameter.rows, parameter.columns


def unit_weights(parameter: Parameter) -> int:
    """Weights that a kept unit holds: 1, the height of a block, 4 of a kernel, or all that read a channel."""
    if parameter.scheme == "block":
        return parameter.height or 1
    if parameter.scheme == "pattern":
        return 4
    return parameter.size // parameter.shape[1] if parameter.scheme == "channel" else 1


def refuse_unfit(parameter: Parameter) -> None:
    """Raise InputError for a format whose units are not those of the weight's scheme."""
    native = {"irregular": ("csr", "masked"), "block": ("block",), "pattern": ("pattern",), "channel": ("channel",)}
    if parameter.format not in native.get(parameter.scheme or "", ()):
        raise InputError(
            f"{parameter.name}: format {parameter.format} cannot mutate within scheme {parameter.scheme}; "
            f"export with {named('format')} auto"
        )


def kept_units(parameter: Parameter, weight_sparsity: float) -> int:
    """max(1, ⌊(1 − s)·weights ÷ weights of a unit⌋), at most all, in exact decimals: 0.9 of 10 weights keeps 1."""
    rows, columns = unit_grid(parameter)
    kept_decimals = _DECIMALS - round(float(weight_sparsity) * _DECIMALS)
    return min(max(1, kept_decimals * parameter.size // (_DECIMALS * unit_weights(parameter))), rows * columns)


def mutation_counts(parameter: Parameter, prune_to: float, grow_to: float) -> tuple[int, int]:
    """Units left by pruning and after growing. Where both round to the same, one is swapped, but never the only one."""
    if not 0 <= grow_to <= prune_to < 1:
        raise InputError(
            f"{parameter.name}: prune to {prune_to:g} and grow to {grow_to:g}; "
            "weight sparsities must satisfy 0 ≤ grow_to ≤ prune_to < 1"
        )
    left, grown = kept_units(parameter, prune_to), kept_units(parameter, grow_to)
    rows, columns = unit_grid(parameter)
    if prune_to > grow_to and 1 < left == grown < rows * columns:
        left -= 1
    return left, grown


def best(scores: np.ndarray, count: int) -> np.ndarray:
    """Bool like `scores` `(n,)`: exactly the `count` highest, ties by lower index; all if there are fewer."""
    if count >= scores.size:
        return np.ones(scores.size, bool)
    if count <= 0:
        return np.zeros(scores.size, bool)
    threshold = np.partition(scores, scores.size - count)[scores.size - count]
    chosen = scores > threshold
    equal = np.flatnonzero(scores == threshold)
    chosen[equal[: count - np.count_nonzero(chosen)]] = True
    return chosen


def best_by_row(scores: np.ndarray, row_starts: np.ndarray, count: int) -> np.ndarray:
    """Bool like `scores`: exactly `count` of the highest, as even over the rows as these allow.

    Rows that keep one more than others are those whose next entry scores highest, ties by lower row.
    """
    have = np.diff(row_starts)
    level = _level(np.zeros_like(have), have, count)
    quota = np.minimum(have, level)
    following = np.full(have.size, -np.inf, np.float32)
    orders = [np.argsort(-scores[begin:end], kind="stable") for begin, end in _spans(row_starts)]
    for row in np.flatnonzero(have > level):
        following[row] = scores[row_starts[row] + orders[row][level]]
    quota += best(following, count - int(quota.sum())) & (have > level)
    chosen = np.zeros(scores.size, bool)
    for (begin, _), order, kept in zip(_spans(row_starts), orders, quota, strict=True):
        chosen[begin + order[:kept]] = True
    return chosen


def growth_by_row(have: np.ndarray, columns: int, count: int, key: int) -> np.ndarray:
    """Entries to add to each row `(rows,)` so that all rows together have `count`, as even as `have` allows."""
    most = np.full_like(have, columns)
    level = _level(have, most, count)
    want = np.maximum(have, np.minimum(level, columns))
    open_rows = np.flatnonzero((have <= level) & (want < columns))
    want[open_rows[distinct(count - int(want.sum()), open_rows.size, key)]] += 1
    return want - have


def absent(present: np.ndarray, removed: np.ndarray, units: int, count: int, key: int) -> np.ndarray:
    """`count` random units below `units` that are not in `present`, ascending; nothing of size `units` is built.

    `present` are the units kept before pruning, `removed` those of them that pruning took; both ascend. The removed
    return only where nothing else is left.
    """
    fresh = min(count, units - present.size)
    ranks = distinct(fresh, units - present.size, mix(key, 1))
    # The r-th absent unit lies behind as many present ones as have at most r absent ones before them.
    before = present - np.arange(present.size, dtype=present.dtype)
    found = ranks + np.searchsorted(before, ranks, side="right").astype(ranks.dtype)
    if fresh == count:
        return found
    again = removed[distinct(count - fresh, removed.size, mix(key, 2))]
    return np.sort(np.concatenate([found, again]))


def distinct(count: int, population: int, key: int) -> np.ndarray:
    """`count` different random numbers below `population`, ascending int32; every such set is equally likely."""
    if 2 * count > population:
        return np.sort(np.argsort(keys(mix(key), population), kind="stable")[:count]).astype(np.int32)
    found = np.zeros(0, np.int32)
    attempt = 0
    while found.size < count:
        # As if drawn one by one, each repetition discarded.
        drawn = keys(mix(key, attempt), count - found.size)
        drawn %= np.uint64(population)
        # Not np.union1d: it loads numpy.ma, 1.5 MB.
        found = np.sort(np.concatenate([found, drawn.astype(np.int32)]))
        found = found[np.append(True, found[1:] != found[:-1])]
        attempt += 1
    return found


def _spans(row_starts: np.ndarray) -> list[tuple[int, int]]:
    bounds = row_starts.tolist()
    return list(pairwise(bounds))


def _level(least: np.ndarray, most: np.ndarray, count: int) -> int:
    """The highest common level for which rows clipped to `least` and `most` still sum to no more than `count`."""
    low, high = 0, int(most.max(initial=0))
    while low < high:
        middle = (low + high + 1) // 2
        if int(np.clip(middle, least, most).sum()) <= count:
            low = middle
        else:
            high = middle - 1
    return low
