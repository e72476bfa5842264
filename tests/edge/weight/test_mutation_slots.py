"""Mutation inside the compressed form against what the dense weight says."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, replace

import numpy as np
import pytest
from network_example import sparse_mask

from edge.errors import InputError
from edge.weight.formats import PATTERNS, check_parameter, decode, encode_parameter, kept_mask, positions
from edge.weight.formats.csr import absolute_columns
from edge.weight.mutation import Mutated, Slots, mutate, mutation_bytes
from edge.weight.parameter import Parameter
from edge.weight.units import absent, best, distinct, kept_units, mutation_counts, unit_grid, unit_weights

SHAPES = {"irregular": (9, 5, 3, 3), "block": (16, 10, 3, 3), "pattern": (12, 20, 3, 3), "channel": (6, 20, 3, 2)}
LISTS = {"csr": ["columns"], "block": ["columns"], "pattern": ["kernels", "patterns"], "channel": ["channels"]}
STEPS = [(0.92, 0.9), (0.9, 0.88), (0.91, 0.9), (0.9, 0.9), (0.7, 0.7), (0.8, 0.6), (0.95, 0.6), (0.999, 0.95)]


@dataclass
class Held:
    """A parameter with its arrays in an engine's memory, and what the dense weight and state are."""

    parameter: Parameter
    slots: Slots

    def stored(self) -> Parameter:
        """The arrays in use as a parameter of their format."""
        form, units = self.parameter.format, self.slots.units
        if form == "masked":
            values = self.slots.values.reshape(self.parameter.shape)
            tensors = {"values": values, "mask": np.packbits(self.slots.indices["mask"], bitorder="little")}
        else:
            count = units * unit_weights(self.parameter)
            shape = {
                "csr": (units,),
                "block": (units, self.parameter.height),
                "pattern": (units, 4),
                "channel": (self.parameter.rows, units, *self.parameter.shape[2:]),
            }[form]
            tensors = {"values": self.slots.values[:count].reshape(shape)}
            tensors |= {name: array[:units] for name, array in self.slots.indices.items() if name != "row_starts"}
            if "row_starts" in self.slots.indices:
                tensors["row_starts"] = self.slots.indices["row_starts"].astype(np.uint32)
        named = {key: getattr(self.parameter, key) for key in ("name", "shape", "format", "scheme", "height")}
        return Parameter(tensors=tensors, **named)

    def dense(self, array: np.ndarray) -> np.ndarray:
        """A state array, or values, as a flat dense array."""
        stored = self.stored()
        flat = np.zeros(stored.size, array.dtype)
        where = positions(stored)
        flat[where] = array.reshape(-1)[where] if stored.format == "masked" else array[: where.size]
        return flat

    def step(self, prune_to: float, grow_to: float, seed: int, gradient_weight: float = 0.0) -> Mutated:
        """Mutate and take over the new number of units."""
        done = mutate(self.parameter, self.slots, prune_to, grow_to, seed, gradient_weight)
        slots = self.slots
        self.slots = Slots(slots.values, slots.indices, done.units, slots.state, slots.gradient)
        return done


def hold(scheme: str, sparsity: float = 0.9, form: str = "auto", densest: float = 0.0, seed: int = 0) -> Held:
    """A random layer of a scheme with about the given sparsity, in arrays with room for the densest one."""
    rng = np.random.default_rng(seed)
    shape = SHAPES[scheme]
    keep = (1 - sparsity) * (9 / 4 if scheme == "pattern" else 1)
    mask = sparse_mask(shape, scheme, keep, rng)
    weight = np.where(mask, rng.normal(size=shape), 0).astype(np.float32)
    height = 4 if scheme == "block" else None
    parameter = encode_parameter("w", weight, mask, scheme=scheme, height=height, target_sparsity=sparsity, format=form)
    if parameter.format == "masked":
        state = tuple(np.where(mask, rng.normal(size=shape), 0).astype(np.float32) for _ in range(2))
        units = parameter.nonzeros
        return Held(parameter, Slots(parameter.values.copy(), {"mask": mask.copy()}, units, state, weight[::-1].copy()))
    units = parameter.nonzeros // unit_weights(parameter)
    room = max(units, kept_units(parameter, densest))
    floats = []
    for content in (parameter.values.reshape(-1), *rng.normal(size=(3, parameter.nonzeros)).astype(np.float32)):
        floats.append(np.zeros(room * unit_weights(parameter), np.float32))
        floats[-1][: content.size] = content
    lists = {name: np.zeros(room, np.uint8 if name == "patterns" else np.uint16) for name in LISTS[parameter.format]}
    for name, array in lists.items():
        array[:units] = absolute_columns(parameter) if parameter.format == "csr" else parameter.tensors[name]
    if "row_starts" in parameter.tensors:
        lists["row_starts"] = parameter.tensors["row_starts"].astype(np.int64)
    return Held(parameter, Slots(floats[0], lists, units, tuple(floats[1:3]), floats[3]))


def unit_view(parameter: Parameter, dense: np.ndarray) -> np.ndarray:
    """A flat dense array as `(units, weights)`, all of a unit's weights in a row."""
    if parameter.scheme == "block":
        return dense.reshape(-1, 4, parameter.columns).transpose(0, 2, 1).reshape(-1, 4)
    if parameter.scheme == "pattern":
        return dense.reshape(-1, 9)
    if parameter.scheme == "channel":
        return dense.reshape(parameter.rows, parameter.shape[1], -1).transpose(1, 0, 2).reshape(parameter.shape[1], -1)
    return dense.reshape(-1, 1)


CASES = [*((scheme, "auto") for scheme in SHAPES), ("irregular", "masked")]


@pytest.mark.parametrize(("prune_to", "grow_to"), STEPS)
@pytest.mark.parametrize(("scheme", "form"), CASES)
def test_every_step_is_what_the_dense_weight_says(scheme: str, form: str, prune_to: float, grow_to: float) -> None:
    """The lowest scores go, survivors keep everything bit for bit, grown ones are new and zero, counts are exact."""
    held = hold(scheme, form=form, densest=min(grow_to, 0.8))
    parameter, size = held.parameter, held.parameter.size
    before_mask = kept_mask(held.stored()).reshape(-1)
    before = [held.dense(array) for array in (held.slots.values, *held.slots.state)]
    importance = np.abs(before[0]) + np.float32(0.5) * np.abs(held.dense(held.slots.gradient))
    present = unit_view(parameter, before_mask).any(axis=1)
    scores = (unit_view(parameter, importance).astype(np.float64) ** 2).sum(axis=1)
    left, grown_to = mutation_counts(parameter, prune_to, grow_to)

    done = held.step(prune_to, grow_to, seed=3, gradient_weight=0.5)
    after_mask = kept_mask(held.stored()).reshape(-1)
    now = unit_view(parameter, after_mask).any(axis=1)
    if scheme == "pattern":
        survivors = now & present & (unit_view(parameter, held.dense(held.slots.values)) != 0).any(axis=1)
    else:
        order = sorted(np.flatnonzero(present), key=lambda unit: (-scores[unit], unit))
        survivors = np.zeros_like(present)
        survivors[order[:left]] = True
    assert survivors.sum() == min(left, present.sum())
    assert now.sum() == done.units == max(grown_to, survivors.sum()) == held.slots.units
    assert not (survivors & ~now).any()
    grown = now & ~survivors
    if grown.sum() <= (~present).sum() and scheme != "pattern":
        assert not (grown & present).any()
    assert done.grown_weights == grown.sum() * unit_weights(parameter)
    assert done.removed_weights == (present.sum() - survivors.sum()) * unit_weights(parameter)
    for array, old in zip((held.slots.values, *held.slots.state), before, strict=True):
        new = unit_view(parameter, held.dense(array))
        assert np.array_equal(new[survivors], unit_view(parameter, old)[survivors])
        assert not new[grown].any()
        if form != "masked":
            assert not array[done.units * unit_weights(parameter) :].any()
    assert size == decode(held.stored()).size
    if scheme == "pattern":
        check_pattern(held, present, scores, survivors, left)


def check_pattern(held: Held, present: np.ndarray, scores: np.ndarray, survivors: np.ndarray, left: int) -> None:
    """Kernels are balanced over the filters, within a filter the best survive, and all cells form patterns."""
    shape = held.parameter.shape[:2]
    kept = kept_mask(held.stored())
    known = {tuple(cells) for cells in PATTERNS.tolist()}
    for kernel in kept.reshape(-1, 9):
        assert not kernel.any() or tuple(np.flatnonzero(kernel)) in known
    had, stayed = present.reshape(shape).sum(axis=1), survivors.reshape(shape).sum(axis=1)
    level = stayed.max()
    assert all(s >= min(h, level - 1) for s, h in zip(stayed, had, strict=True))
    for row in range(shape[0]):
        row_scores, alive = scores.reshape(shape)[row], present.reshape(shape)[row]
        best_kept = sorted(np.flatnonzero(alive), key=lambda unit: (-row_scores[unit], unit))[: stayed[row]]
        assert set(np.flatnonzero(survivors.reshape(shape)[row])) == set(best_kept)
    counts = kept.any(axis=(2, 3)).sum(axis=1)
    assert all(count <= max(counts.min() + 1, stay) for count, stay in zip(counts, stayed, strict=True))


def test_by_eye_eight_weights() -> None:
    """Of 8 weights 4 are kept: the two smallest go, two of the empty places come with zeros."""
    weight = np.array([[1, 0, -4, 0], [0, 3, 0, 2]], np.float32)
    parameter = encode_parameter("w", weight, weight != 0, scheme="irregular", target_sparsity=0.5, format="csr")
    slots = Slots(
        values=parameter.values.copy(),
        indices={"row_starts": parameter.tensors["row_starts"].copy(), "columns": parameter.tensors["columns"].copy()},
        units=4,
        state=(np.array([10, 40, 30, 20], np.float32),),
    )
    done = mutate(parameter, slots, 0.75, 0.5, seed=1)
    assert (done.units, done.removed_weights, done.grown_weights) == (4, 2, 2)
    columns = np.split(slots.indices["columns"], slots.indices["row_starts"][1:-1])
    kept = {(row, int(column)) for row, found in enumerate(columns) for column in found}
    assert {(0, 2), (1, 1)} < kept
    assert not kept & {(0, 0), (1, 3)}
    old = done.source >= 0
    assert slots.values[old].tolist() == [-4, 3]
    assert slots.state[0][old].tolist() == [40, 30]
    assert not slots.values[~old].any()
    assert not slots.state[0][~old].any()


def test_of_equal_scores_the_first_stay() -> None:
    """Exact counts whatever the ties."""
    assert best(np.array([1, 2, 1, 1, 2, 1], np.float32), 4).tolist() == [True, True, True, False, True, False]
    assert best(np.zeros(5, np.float32), 2).tolist() == [True, True, False, False, False]


@pytest.mark.parametrize(("scheme", "form"), CASES)
def test_the_seed_decides(scheme: str, form: str) -> None:
    """The same seed gives the same arrays, another seed another mask."""
    results = []
    for seed in (1, 1, 2):
        held = hold(scheme, form=form)
        held.step(0.95, 0.8, seed)
        results.append((kept_mask(held.stored()), held.slots.values.copy()))
    assert all(np.array_equal(a, b) for a, b in zip(results[0], results[1], strict=True))
    assert not np.array_equal(results[0][0], results[2][0])


@pytest.mark.parametrize(("scheme", "form"), CASES)
def test_a_long_run_keeps_the_form_sound(scheme: str, form: str) -> None:
    """EM&S over and over: indices stay valid, the last prune ends at the target."""
    held = hold(scheme, form=form, densest=0.8)
    for seed in range(30):
        held.step(0.9, 0.8, seed)
        held.slots.values[...] = np.where(held.slots.values == 0, 0, held.slots.values + 0.1)
        if form != "masked":
            used = held.slots.units * unit_weights(held.parameter)
            held.slots.values[:used] += np.random.default_rng(seed).normal(size=used).astype(np.float32)
        check_parameter(held.stored())
    done = held.step(0.9, 0.9, 99)
    assert done.units == kept_units(held.parameter, 0.9)
    assert done.grown_weights == 0


def test_counts_are_exact_decimals() -> None:
    """0.9 of 10 keeps 1; one unit is swapped where both bounds round to the same; never none."""

    def linear(inputs: int, scheme: str = "irregular") -> Parameter:
        return Parameter("w", (1, inputs), {}, scheme=scheme)

    assert kept_units(linear(10), 0.9) == 1
    assert kept_units(linear(10), 0.9 + 0.2 * (1 - 0.9)) == 1
    assert kept_units(linear(1000), 0.9 - 0.2 * (1 - 0.9)) == 120
    assert kept_units(linear(1000), 0.7 + 0.1 * (1 - 0.7)) == 270
    assert kept_units(linear(10), 0.999) == 1
    assert kept_units(Parameter("w", (4, 9, 3, 3), {}, scheme="pattern"), 0.1) == 36
    assert kept_units(Parameter("w", (4, 9, 3, 3), {}, scheme="pattern"), 0.9) == 8
    assert mutation_counts(linear(10, "channel"), 0.52, 0.5) == (4, 5)
    assert mutation_counts(linear(10, "channel"), 0.5, 0.5) == (5, 5)
    assert mutation_counts(linear(10), 0.01, 0.0) == (9, 10)
    with pytest.raises(InputError, match=r"prune to 0\.5 and grow to 0.9"):
        mutation_counts(linear(10), 0.5, 0.9)


def test_distinct_numbers_are_distinct_and_even() -> None:
    """Ascending, below the population, and every number about as often."""
    counts = np.zeros(20)
    for key in range(2000):
        for count in (3, 12):
            found = distinct(count, 20, key)
            assert found.size == count == np.unique(found).size
            counts[found] += 1
    assert counts.min() > 0.9 * counts.mean()
    assert counts.max() < 1.1 * counts.mean()
    assert distinct(0, 0, 1).size == 0
    assert distinct(5, 5, 1).tolist() == [0, 1, 2, 3, 4]


def test_absent_units_are_those_that_are_not_there() -> None:
    """Never a present one; the removed only when nothing else is left."""
    present, removed = np.array([0, 1, 4, 7], np.int32), np.array([1, 7], np.int32)
    seen = set()
    for key in range(200):
        seen |= set(absent(present, removed, 9, 2, key).tolist())
    assert seen == {2, 3, 5, 6, 8}
    assert absent(present, removed, 9, 7, 0).tolist() == [1, 2, 3, 5, 6, 7, 8]


@pytest.mark.parametrize(("scheme", "form"), CASES)
def test_memory_stays_below_the_stated_bound(scheme: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The peak of all allocations of a mutation is what mutation_bytes says at most, and less than a dense copy."""
    large = {"irregular": (128, 64, 3, 3), "block": (128, 64, 3, 3), "pattern": (128, 64, 3, 3), "channel": (64, 256)}
    monkeypatch.setitem(SHAPES, scheme, large[scheme])
    held = hold(scheme, form=form, densest=0.8)
    units = kept_units(held.parameter, 0.8)
    held.step(0.95, 0.9, 0)  # whatever numpy loads once
    tracemalloc.start()
    held.step(0.92, 0.8, 1, gradient_weight=0.1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= mutation_bytes(held.parameter, units)


def test_what_cannot_mutate_is_refused_and_left_alone() -> None:
    """No room, an index type too small, a format without the scheme, a weight that is no number."""
    held = hold("irregular")
    before = held.slots.values.copy()
    tight = Slots(held.slots.values[: held.slots.units], held.slots.indices, held.slots.units)
    with pytest.raises(InputError, match="growing needs room for"):
        mutate(held.parameter, tight, 0.9, 0.3, 1)
    held.slots.values[0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        held.step(0.92, 0.9, 1)
    held.slots.values[0] = before[0]
    assert np.array_equal(held.slots.values, before)
    weight = np.ones((4, 300), np.float32)
    wide = encode_parameter("w", weight, weight > 0, scheme="irregular", format="csr")
    small = {"row_starts": np.zeros(5, np.int64), "columns": np.zeros(9, np.uint8)}
    with pytest.raises(InputError, match="uint8 cannot hold"):
        mutate(wide, Slots(np.zeros(9, np.float32), small, 0), 0.999, 0.999, 1)
    block = replace(held.parameter, scheme="block", height=4)
    with pytest.raises(InputError, match="format csr cannot mutate within scheme block"):
        mutate(block, held.slots, 0.92, 0.9, 1)


@pytest.mark.parametrize(("scheme", "form"), CASES)
def test_a_layer_grows_from_nothing(scheme: str, form: str) -> None:
    """No unit in use: the layer reaches the stated sparsity."""
    held = hold(scheme, form=form, densest=0.8)
    empty = np.zeros(held.parameter.shape, np.float32)
    options = {"height": 4} if scheme == "block" else {}
    held.parameter = encode_parameter(
        "w", empty, empty > 0, scheme=scheme, target_sparsity=0.9, format=held.parameter.format, **options
    )
    for array in (held.slots.values, *held.slots.state, *held.slots.indices.values()):
        array[...] = 0
    held.slots = Slots(held.slots.values, held.slots.indices, 0, held.slots.state)
    done = held.step(0.9, 0.8, 1)
    check_parameter(held.stored())
    assert done.units == kept_units(held.parameter, 0.8)
    assert kept_mask(held.stored()).sum() == done.grown_weights == done.units * unit_weights(held.parameter)


def test_a_single_unit_stays() -> None:
    """With one unit kept a mutation swaps nothing: the layer would begin at zero each time."""
    weight = np.zeros((2, 8), np.float32)
    weight[:, 3] = 1
    parameter = encode_parameter("w", weight, weight > 0, scheme="channel", target_sparsity=0.875)
    slots = Slots(parameter.values.reshape(-1).copy(), {"channels": parameter.tensors["channels"].copy()}, 1)
    done = mutate(parameter, slots, 0.9, 0.875, 1)
    assert (done.units, done.removed_weights, done.grown_weights) == (1, 0, 0)
    assert slots.indices["channels"].tolist() == [3]
    assert slots.values.all()
    assert unit_grid(parameter) == (1, 8)
