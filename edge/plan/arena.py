"""Offsets for the tensors of a step in one block of memory, and an independent check that no two live ones share bytes.

Why a plan is right. A buffer is alive from the start of step `first` to the end of step `last`. All planners keep one
invariant: when a buffer is placed, its bytes are disjoint from those of every placed buffer that is alive at a common
step. `_in_order` looks at exactly those buffers and takes a gap between them. `_by_replay` goes through the steps in
order; at each moment the free list and the live buffers partition the arena, so what it takes from the free list
belongs to no live buffer, and a buffer returns to it only after its last step. Neither moves a placed buffer, so the
invariant holds at the end for all pairs, which is the claim. `check_arena` does not rely on any of this.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

import numpy as np

from edge.plan.footprint import ArenaPlan, Buffer

ALIGNMENT = 64  # bytes: a cache line, and a vector of AVX-512


class ArenaError(RuntimeError):
    """A plan in which live tensors share bytes, or buffers that cannot be planned: a bug of ours."""


def plan_arena(buffers: Sequence[Buffer], alignment: int = ALIGNMENT) -> ArenaPlan:
    """Offsets for all buffers, multiples of `alignment`: the smallest of three heuristics' arenas.

    Placed longest-lived first, what waits from forward to backward lies at the bottom like a stack, and what comes and
    goes above it: most often no plan can undercut that, and the others are not asked. Raises ArenaError for negative
    sizes and lifetimes that end before they begin.
    """
    _refuse_impossible(buffers)
    sizes = [_aligned(buffer.nbytes, alignment) for buffer in buffers]
    live, first_step = _live_bytes(buffers, sizes)
    bound = int(live.max(initial=0))
    offsets, nbytes = _in_order(buffers, sizes, _longest_first(buffers, sizes))
    for heuristic in (_by_size, _by_replay):
        if nbytes > bound:
            found, found_bytes = heuristic(buffers, sizes)
            if found_bytes < nbytes:
                offsets, nbytes = found, found_bytes
    return ArenaPlan(
        nbytes=nbytes,
        naive_bytes=sum(sizes),
        peak_step=first_step + int(live.argmax()) if live.size else 0,
        offsets=tuple(offsets),
    )


def live_bound(buffers: Sequence[Buffer], alignment: int = ALIGNMENT) -> int:
    """Bytes that no plan can undercut: the most that is alive at one step."""
    sizes = [_aligned(buffer.nbytes, alignment) for buffer in buffers]
    return int(_live_bytes(buffers, sizes)[0].max(initial=0))


def check_arena(buffers: Sequence[Buffer], plan: ArenaPlan, alignment: int = ALIGNMENT) -> None:
    """Raise ArenaError unless every buffer lies aligned within the arena and live ones never share a byte.

    Walks through the steps with the live extents sorted by offset, where an overlap shows between neighbours.
    """
    if len(buffers) != len(plan.offsets):
        raise ArenaError(f"the plan places {len(plan.offsets)} buffers, not exactly the {len(buffers)} given")
    for buffer, offset in zip(buffers, plan.offsets, strict=True):
        if offset < 0 or offset % alignment or offset + buffer.nbytes > plan.nbytes:
            raise ArenaError(f"{buffer.name}: {buffer.nbytes} bytes at {offset} do not lie within {plan.nbytes}")

    live: list[tuple[int, int, int]] = []  # (offset, end, number of the buffer)
    extents = [(at, at + b.nbytes, number) for number, (b, at) in enumerate(zip(buffers, plan.offsets, strict=True))]
    filled = [number for number, buffer in enumerate(buffers) if buffer.nbytes]
    ending = sorted(filled, key=lambda number: buffers[number].last)
    ended = 0
    for number in sorted(filled, key=lambda number: buffers[number].first):
        now = buffers[number].first
        while buffers[ending[ended]].last < now:
            live.remove(extents[ending[ended]])
            ended += 1
        extent = extents[number]
        insort(live, extent)
        place = bisect_left(live, extent)
        for left, right in zip(live[max(place - 1, 0) : place + 1], live[max(place, 1) : place + 2], strict=False):
            if left[1] > right[0]:
                names = f"{buffers[left[2]].name} and {buffers[right[2]].name}"
                raise ArenaError(f"{names} share bytes while both are alive at step {now}")


def _refuse_impossible(buffers: Sequence[Buffer]) -> None:
    for buffer in buffers:
        if buffer.nbytes < 0 or buffer.first > buffer.last:
            raise ArenaError(f"cannot plan {buffer}: of negative size, or ending before it begins")


def _aligned(nbytes: int, alignment: int) -> int:
    return -(-nbytes // alignment) * alignment


def _live_bytes(buffers: Sequence[Buffer], sizes: Sequence[int]) -> tuple[np.ndarray, int]:
    """Bytes alive at each step from the first one on, and which step that is."""
    if not buffers:
        return np.zeros(0, np.int64), 0
    start = min(buffer.first for buffer in buffers)
    changes = np.zeros(max(buffer.last for buffer in buffers) - start + 2, np.int64)
    for buffer, size in zip(buffers, sizes, strict=True):
        changes[buffer.first - start] += size
        changes[buffer.last - start + 1] -= size
    return np.cumsum(changes)[:-1], start


def _longest_first(buffers: Sequence[Buffer], sizes: Sequence[int]) -> list[int]:
    return sorted(range(len(buffers)), key=lambda i: (buffers[i].first - buffers[i].last, -sizes[i], i))


def _by_size(buffers: Sequence[Buffer], sizes: Sequence[int]) -> tuple[list[int], int]:
    """As `_in_order`, the largest first."""
    order = sorted(range(len(buffers)), key=lambda i: (-sizes[i], buffers[i].first - buffers[i].last, i))
    return _in_order(buffers, sizes, order)


def _in_order(buffers: Sequence[Buffer], sizes: Sequence[int], order: Sequence[int]) -> tuple[list[int], int]:
    """Offsets and arena size, placing buffers in an order, each into the tightest gap among those alive with it."""
    count = len(buffers)
    offsets = [0] * count
    first, last, begin, end = (np.zeros(count, np.int64) for _ in range(4))  # of those placed, by offset
    placed, top = 0, 0
    for index in order:
        size = sizes[index]
        if not size:
            continue
        together = np.flatnonzero((first[:placed] <= buffers[index].last) & (last[:placed] >= buffers[index].first))
        reached = np.concatenate([[0], np.maximum.accumulate(end[together])])
        gaps = begin[together] - reached[:-1]
        fitting = np.flatnonzero(gaps >= size)
        offset = int(reached[fitting[gaps[fitting].argmin()]] if fitting.size else reached[-1])
        offsets[index] = offset
        top = max(top, offset + size)
        at = int(np.searchsorted(begin[:placed], offset))
        row = (buffers[index].first, buffers[index].last, offset, offset + size)
        for column, value in zip((first, last, begin, end), row, strict=True):
            column[at + 1 : placed + 1] = column[at:placed].copy()
            column[at] = value
        placed += 1
    return offsets, top


def _by_replay(buffers: Sequence[Buffer], sizes: Sequence[int]) -> tuple[list[int], int]:
    """Offsets and arena size, replaying the steps against a free list: the tightest free extent, else more arena."""
    offsets = [0] * len(buffers)
    # At a step what ended before it is freed first; then the largest begins first.
    events = [(buffer.first, 1, -sizes[i], i) for i, buffer in enumerate(buffers) if sizes[i]]
    events += [(buffer.last + 1, 0, 0, i) for i, buffer in enumerate(buffers) if sizes[i]]
    free: list[tuple[int, int]] = []  # (offset, size), by offset, never touching each other
    top = 0
    for _, begins, _, index in sorted(events):
        size = sizes[index]
        if not begins:
            _give_back(free, offsets[index], size)
            continue
        fitting = [(extent[1], at) for at, extent in enumerate(free) if extent[1] >= size]
        if fitting:
            _, at = min(fitting)
            offset, room = free.pop(at)
            if room > size:
                free.insert(at, (offset + size, room - size))
        else:
            # The arena grows; free bytes at its end are used first.
            offset = free.pop()[0] if free and sum(free[-1]) == top else top
            top = offset + size
        offsets[index] = offset
    return offsets, top


def _give_back(free: list[tuple[int, int]], offset: int, size: int) -> None:
    """Return an extent to the free list, joined with its neighbours."""
    at = bisect_left(free, (offset, 0))
    if at < len(free) and free[at][0] == offset + size:
        size += free.pop(at)[1]
    if at and sum(free[at - 1]) == offset:
        at -= 1
        before = free.pop(at)
        offset, size = before[0], before[1] + size
    free.insert(at, (offset, size))
