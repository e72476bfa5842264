"""Prune and grow inside the compressed form: indices, values and optimizer state move, nothing dense is built.

MEST, section 3.2: the units with the lowest |w| + λ·|gradient| go, random ones come and start at zero. EM and EM&S
differ only in the two sparsities that are given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from edge.chance import keys, mix
from edge.errors import InputError
from edge.weight.formats import PATTERNS
from edge.weight.parameter import Parameter
from edge.weight.units import (
    absent,
    best,
    best_by_row,
    growth_by_row,
    mutation_counts,
    refuse_unfit,
    unit_grid,
    unit_weights,
)

# Bytes that a mutation needs for a moment, per unit (numbers, scores, orders) and per weight (scores, one moved array).
BYTES_PER_UNIT = 18
BYTES_PER_WEIGHT = 9
BYTES_PER_ROW = 160
BYTES_AT_LEAST = 8192

# The arrays with one entry per unit in use.
_LISTS = MappingProxyType(
    {
        "csr": ("columns",),
        "block": ("columns",),
        "pattern": ("kernels", "patterns"),
        "channel": ("channels",),
        "masked": (),
    }
)


@dataclass(frozen=True, eq=False)
class Slots:
    """A sparse weight in an engine's memory: arrays with room for the densest phase, changed in place.

    `indices`, of any integer type: `row_starts` with absolute `columns` (csr, block) or with `kernels` and `patterns`
    (pattern); `channels`; or `mask` with one entry per weight (masked). `values` and every array of `state` are
    contiguous; the first `units` units are in use, packed as the format packs them. `gradient` is laid out like
    `values`.
    """

    values: np.ndarray
    indices: Mapping[str, np.ndarray]
    units: int
    state: Sequence[np.ndarray] = ()
    gradient: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Mutated:
    """What a mutation did. `source` gives for each unit now in use the slot it came from, −1 for a grown one."""

    units: int
    removed_weights: int
    grown_weights: int
    source: np.ndarray


def mutation_bytes(parameter: Parameter, units: int) -> int:
    """An upper bound of what `mutate` allocates for a moment, with `units` units at the most."""
    rows = unit_grid(parameter)[0]
    return BYTES_AT_LEAST + units * (BYTES_PER_UNIT + BYTES_PER_WEIGHT * unit_weights(parameter)) + BYTES_PER_ROW * rows


def mutate(
    parameter: Parameter, slots: Slots, prune_to: float, grow_to: float, seed: int, gradient_weight: float = 0.0
) -> Mutated:
    """Prune to one weight sparsity, grow to another, in place; the same for the same seed.

    Survivors keep values and optimizer state bit for bit, grown units start with zeros, free slots are zero. What was
    just removed returns only where nothing else is left. Raises InputError for a format that cannot mutate within its
    scheme and for weights that are not finite, before anything is changed.
    """
    refuse_unfit(parameter)
    if not all(array.flags.c_contiguous for array in (slots.values, *slots.state, *slots.indices.values())):
        raise ValueError(f"{parameter.name}: arrays that are changed in place must be contiguous")
    count_left, count_grown = mutation_counts(parameter, prune_to, grow_to)
    units = _units(parameter, slots)
    scores = _scores(parameter, slots, units, gradient_weight)
    rows, columns = unit_grid(parameter)
    balanced = parameter.scheme == "pattern"
    starts = np.searchsorted(units, np.arange(rows + 1, dtype=np.int64) * columns) if balanced else None
    stays = best(scores, count_left) if starts is None else best_by_row(scores, starts, min(count_left, units.size))
    del scores
    growing = max(0, count_grown - np.count_nonzero(stays))
    removed = units[~stays]
    key = mix(seed)
    if starts is None:
        grown = absent(units, removed, rows * columns, growing, key)
    else:
        grown = _grown_by_row(units, stays, starts, columns, growing, key)
    source = _merge(units, stays, grown)
    place = np.empty(source.size, np.int32)
    place[source >= 0] = units[stays]
    place[source < 0] = grown
    weights = unit_weights(parameter)
    done = Mutated(place.size, removed.size * weights, grown.size * weights, source)
    _check_room(parameter, slots, place.size, columns)
    if parameter.format == "masked":
        _move_masked(slots, removed, grown)
        return done
    del units, stays, removed, grown
    _move(parameter, slots, source)
    _write_indices(parameter, slots, place, source, columns, mix(key, 3))
    return done


def _units(parameter: Parameter, slots: Slots) -> np.ndarray:
    """Numbers of the units in use, ascending int32."""
    indices = slots.indices
    if parameter.format == "channel":
        return indices["channels"][: slots.units].astype(np.int32)
    if parameter.format == "masked":
        return np.flatnonzero(indices["mask"].reshape(-1)).astype(np.int32)
    starts = indices["row_starts"].astype(np.intp)
    units = np.repeat(np.arange(starts.size - 1, dtype=np.int32), starts[1:] - starts[:-1])
    units *= np.int32(unit_grid(parameter)[1])
    units += indices["kernels" if parameter.format == "pattern" else "columns"][: slots.units].astype(np.int32)
    return units


def _scores(parameter: Parameter, slots: Slots, units: np.ndarray, gradient_weight: float) -> np.ndarray:
    """Importance of each unit in use: |w| + λ·|gradient|, for units of several weights the sum of its squares."""

    def magnitudes(array: np.ndarray) -> np.ndarray:
        flat = array.reshape(-1)
        if parameter.format == "masked":
            return np.abs(flat[units])
        return np.abs(flat[: units.size * unit_weights(parameter)])

    scores = magnitudes(slots.values)
    if gradient_weight and slots.gradient is not None:
        of_gradient = magnitudes(slots.gradient)
        of_gradient *= np.float32(gradient_weight)
        scores += of_gradient
        del of_gradient
    if not np.isfinite(scores).all():
        raise InputError(f"{parameter.name}: weights or gradients are not finite; lower the learning rate")
    if parameter.format == "channel":
        of_channels = scores.reshape(parameter.rows, units.size, unit_weights(parameter) // parameter.rows)
        return _sum_of_squares(of_channels[row, :, tap] for row, tap in np.ndindex(of_channels.shape[::2]))
    if parameter.format in ("block", "pattern"):
        of_units = scores.reshape(units.size, unit_weights(parameter))
        return _sum_of_squares(of_units[:, place] for place in range(of_units.shape[1]))
    return scores


def _sum_of_squares(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Added up in their order, so that a sum is the same to the last bit wherever it is computed."""
    sums = np.float32(0)
    for part in parts:
        sums = sums + part * part
    return np.asarray(sums)


def _grown_by_row(
    units: np.ndarray, stays: np.ndarray, starts: np.ndarray, columns: int, growing: int, key: int
) -> np.ndarray:
    """Units to grow, ascending, so that all rows end as even as the survivors allow."""
    spans = list(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True))
    have = np.array([np.count_nonzero(stays[begin:end]) for begin, end in spans], np.int64)
    wanted = growth_by_row(have, columns, int(have.sum()) + growing, mix(key, 4))
    grown = [np.zeros(0, np.int32)]
    for row in np.flatnonzero(wanted).tolist():
        begin, end = spans[row]
        present = units[begin:end] - np.int32(row * columns)
        found = absent(present, present[~stays[begin:end]], columns, int(wanted[row]), mix(key, 5, row))
        grown.append(found + np.int32(row * columns))
    return np.concatenate(grown)


def _merge(units: np.ndarray, stays: np.ndarray, grown: np.ndarray) -> np.ndarray:
    """For each unit of the new list, ascending, the slot it comes from, −1 for a grown one; int32."""
    places = np.searchsorted(units[stays], grown)
    places += np.arange(grown.size)
    old = np.ones(np.count_nonzero(stays) + grown.size, bool)
    old[places] = False
    source = np.full(old.size, -1, np.int32)
    source[old] = np.flatnonzero(stays)
    return source


def _check_room(parameter: Parameter, slots: Slots, units: int, columns: int) -> None:
    """Raise InputError unless every array takes the new number of units, and every index any column."""
    room = min(array.size for array in (slots.values, *slots.state))
    needed = parameter.size if parameter.format == "masked" else units * unit_weights(parameter)
    for name in _LISTS[parameter.format]:
        array = slots.indices[name]
        room = min(room, array.size * unit_weights(parameter))
        if name != "patterns" and columns - 1 > np.iinfo(array.dtype).max:
            raise InputError(f"{parameter.name}: {name} of {array.dtype} cannot hold all of {columns} columns")
    if needed > room:
        raise InputError(
            f"{parameter.name}: growing needs room for {needed} weights and {room} were planned; "
            "plan with the sparsity of the densest phase"
        )


def _move(parameter: Parameter, slots: Slots, source: np.ndarray) -> None:
    """Bring values and optimizer state into the new order; one array at a time is copied."""
    outer = parameter.rows if parameter.format == "channel" else 1
    inner = unit_weights(parameter) // outer
    for array in (slots.values, *slots.state):
        flat = array.reshape(-1)
        used = slots.units * outer * inner
        old = flat[:used].reshape(outer, slots.units, inner)
        moved = old[:, source] if slots.units else np.zeros((outer, source.size, inner), flat.dtype)
        moved[:, source < 0] = 0
        flat[: moved.size] = moved.reshape(-1)
        flat[moved.size : max(used, moved.size)] = 0


def _move_masked(slots: Slots, removed: np.ndarray, grown: np.ndarray) -> None:
    """Nothing moves where values are dense: what went, and what came, is set to zero."""
    for array in (slots.values, *slots.state):
        flat = array.reshape(-1)
        flat[removed] = 0
        flat[grown] = 0
    mask = slots.indices["mask"].reshape(-1)
    mask[removed] = 0
    mask[grown] = 1


def _write_indices(
    parameter: Parameter, slots: Slots, place: np.ndarray, source: np.ndarray, columns: int, key: int
) -> None:
    indices = slots.indices
    if parameter.format == "channel":
        _fill(indices["channels"], place, slots.units)
        return
    starts = indices["row_starts"]
    starts[:] = np.searchsorted(place, np.arange(starts.size, dtype=np.int64) * columns)
    if parameter.format == "pattern":
        patterns = indices["patterns"][np.maximum(source, 0)]
        patterns[source < 0] = keys(key, int(np.count_nonzero(source < 0))) % np.uint64(len(PATTERNS))
        _fill(indices["patterns"], patterns, slots.units)
    _fill(indices["kernels" if parameter.format == "pattern" else "columns"], place % np.int32(columns), slots.units)


def _fill(array: np.ndarray, content: np.ndarray, used: int) -> None:
    """Write a list to the beginning of an array and zeros over what remains of the previous one."""
    array[: content.size] = content
    array[content.size : max(used, content.size)] = 0
