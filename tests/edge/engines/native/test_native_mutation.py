"""The library's mutation against the same with numpy, to the last bit, and what it refuses."""

from __future__ import annotations

from ctypes import byref
from itertools import pairwise

import numpy as np
import pytest
from native_networks import SCHEME_OF, Builder

from edge.engines.native.geometry import Window
from edge.engines.native.layout import weight_layout
from edge.engines.native.mutation import counted, mutate_weight
from edge.engines.native.weights import Weight, aligned, held_as
from edge.errors import InputError
from edge.libmest import library
from edge.libmest import program as structs
from edge.libmest.vocabulary import DAMAGED, NO_ROOM, UNIT_BYTES
from edge.plan.choices import Choices, OptimizerChoice
from edge.weight.formats import PATTERNS
from edge.weight.mutation import Slots, mutate
from edge.weight.units import unit_weights

pytestmark = pytest.mark.skipif(not library.available()[0], reason=f"needs the library: {library.available()[1]}")
WINDOWS = {
    "plain": Window((3, 3), input=(20, 9, 9), output=(16, 9, 9)),
    "strided, in groups": Window((3, 3), (2, 1), (1, 3), groups=2, input=(24, 9, 9), output=(16, 9, 9)),
    "linear": Window(input=(90, 1, 1), output=(16, 1, 1)),
}
# Sparsities that are pruned to and grown to, one after the other: little and much, past the rest, almost nothing.
STEPS = [
    (0.82, 0.8),
    (0.8, 0.76),
    (0.9, 0.5),
    (0.999, 0.6),
    (0.6, 0.3),
    (0.95, 0.95),
    (0.96, 0.4),
    (0.4, 0.0),
    (0.8, 0.0),
]
ADAM = OptimizerChoice(kind="adamw")


def held(fmt: str, window: Window, height: int = 4, seed: int = 0) -> Weight:
    """A random weight with room for all of it, its gradient and its state random too, and equal scores among them."""
    builder, groups = Builder((1, 1, 1), 1, seed), window.groups
    shape = (window.output[0], window.input[0] // groups, *window.kernel)
    parameter = builder.parameters[builder.weight("w", shape, fmt, 0.8, height)]
    choices = Choices(4, 4, densest_sparsity={"w": 0.0}, optimizer=ADAM)
    layout = weight_layout(parameter, window, choices, True, True)
    weight = Weight(layout, aligned(layout.capacity, np.float32), ADAM)
    random = np.random.default_rng(seed)
    for array in (weight.gradient, *weight.state):
        array[: weight.count] = random.normal(size=weight.count)
    weight.values[: weight.count : 3] = 0.5
    return weight


def by_numpy(
    weight: Weight, prune_to: float, grow_to: float, seed: int, gradient_weight: float
) -> dict[str, np.ndarray]:
    """Every array after the same mutation of copies, by the names of `Weight.parts`."""
    found = {name: array.copy() for name, array in weight.parts().items()}
    lists = {name: found[name] for name in ("columns", "kernels", "patterns", "channels") if name in found}
    per = 4 if "kernels" in lists else 1
    if per == 4:
        del lists["columns"]
    if "starts" in found:
        lists["row_starts"] = found["starts"] // np.uint32(per)
    units = weight.count // unit_weights(held_as(weight.layout.parameter))
    slots = Slots(found["values"], lists, units, (found["first"], found["second"]), found["gradient"])
    done = mutate(held_as(weight.layout.parameter), slots, prune_to, grow_to, seed, gradient_weight)
    found["gradient"][:] = 0
    if "starts" in found:
        found["starts"][:] = lists["row_starts"] * np.uint32(per)
    if per == 4:
        cells = lists["kernels"][: done.units, None] * 9 + PATTERNS[lists["patterns"][: done.units]]
        found["columns"][: cells.size] = cells.reshape(-1)
    return found


def transposed(weight: Weight) -> list[list[int]]:
    """Starts, columns and places by stride parity and input channel, one entry after the other."""
    window, height = weight.layout.window, weight.layout.height
    group_units = weight.layout.parameter.rows // window.groups // height
    lists: list[list[tuple[int, int]]] = [[] for _ in range(weight.layout.parities * window.input[0])]
    starts, columns = weight.indices["starts"].tolist(), weight.indices["columns"].tolist()
    for unit, (begin, end) in enumerate(pairwise(starts)):
        for place in range(begin, end):
            channel, tap = divmod(columns[place], window.taps)
            down, right = divmod(tap, window.kernel[1])
            parity = (down * window.dilation[0] % window.stride[0]) * window.stride[1]
            parity += right * window.dilation[1] % window.stride[1]
            channel += unit // group_units * (window.input[0] // window.groups)
            lists[parity * window.input[0] + channel].append((unit % group_units * window.taps + tap, place * height))
    counts = np.cumsum([0, *(len(one) for one in lists)]).tolist()
    return [counts, *([entry[which] for one in lists for entry in one] for which in (0, 1))]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("fmt", SCHEME_OF)
def test_the_same_as_with_numpy(fmt: str, window: str) -> None:
    """Mutation after mutation: values, state, gradient and lists, those that follow from others too."""
    if (fmt == "pattern" and window == "linear") or (fmt == "channel" and window != "plain"):
        pytest.skip("not held in this format")
    weight = held(fmt, WINDOWS[window])
    scratch = np.full(weight.layout.mutation_bytes, 0xA5, np.uint8)
    random = np.random.default_rng(1)
    for seed, (prune_to, grow_to) in enumerate(STEPS):
        gradient_weight = (0.0, 0.7)[seed % 2]
        before = weight.count
        wanted = by_numpy(weight, prune_to, grow_to, seed, gradient_weight)
        done = mutate_weight(weight, counted(weight, prune_to, grow_to), seed, gradient_weight, scratch)
        assert weight.count == before - done.removed + done.grown
        for name, array in weight.parts().items():
            if not name.startswith("t_"):
                assert array.tobytes() == wanted[name].tobytes(), (name, prune_to, grow_to)
        if "t_starts" in weight.indices:
            found = [weight.indices[name].tolist() for name in ("t_starts", "t_columns", "t_places")]
            assert [found[0], *(one[: weight.entries] for one in found[1:])] == transposed(weight)
        for array in (weight.gradient, *weight.state):
            array[: weight.count] = random.normal(size=weight.count)


def test_blocks_of_other_heights() -> None:
    """A score is a sum in the order of its weights, however many there are."""
    for height in (2, 8, 16):
        weight = held("block", WINDOWS["plain"], height)
        weight.values[: weight.count] = np.random.default_rng(height).normal(size=weight.count)
        wanted = by_numpy(weight, 0.9, 0.7, 5, 0.1)
        mutate_weight(weight, counted(weight, 0.9, 0.7), 5, 0.1, np.zeros(weight.layout.mutation_bytes, np.uint8))
        assert all(weight.parts()[name].tobytes() == wanted[name].tobytes() for name in ("values", "columns", "first"))


@pytest.mark.parametrize("fmt", SCHEME_OF)
def test_what_is_refused_changes_nothing(fmt: str) -> None:
    """Lists that do not ascend or lie over each other, too little scratch or room, numbers that are not finite."""
    weight = held(fmt, WINDOWS["plain"])
    scratch = np.zeros(weight.layout.mutation_bytes, np.uint8)
    before = {name: array.copy() for name, array in weight.parts().items()}
    call = library.load_library().mest_mutate

    def end(mutation: dict[str, int], **changes: int) -> int:
        described = weight.described()
        for name, value in changes.items():
            setattr(described, name, value)
        asked = {"left": 1, "grown": 2, "scratch": scratch.ctypes.data, "scratch_bytes": scratch.nbytes} | mutation
        found: int = call(byref(described), byref(structs.Mutation(**asked)))
        return found

    assert end({"scratch_bytes": scratch.nbytes - 1}) == end({"grown": 1 << 20}) == end({"left": 3}) == NO_ROOM
    own = "channels" if fmt == "channel" else "kernels" if fmt == "pattern" else "columns"
    wrong = {"form": 9, "rows": 0, "groups": 3, "index_bytes": 3, "count": -1, "capacity": 1 << 40, "values": 0, own: 0}
    if fmt != "channel":
        wrong["starts"] = weight.indices[own].ctypes.data
    for name, value in wrong.items():
        assert end({}, **{name: value}) == DAMAGED, name
    weight.indices[own][:2] = weight.indices[own][1::-1].copy()
    assert end({}) == DAMAGED
    weight.indices[own][:2] = weight.indices[own][1::-1].copy()
    weight.values[weight.count - 1] = before["values"][weight.count - 1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        mutate_weight(weight, counted(weight, 0.9, 0.8), 0, 0.0, scratch)
    assert all(array.tobytes() == before[name].tobytes() for name, array in weight.parts().items())
    assert scratch.nbytes >= UNIT_BYTES * weight.layout.capacity // unit_weights(held_as(weight.layout.parameter))
