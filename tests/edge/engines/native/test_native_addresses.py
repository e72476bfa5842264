"""Specs become rows of numbers: the same memory has the same number, rows follow a mutation, slots have offsets."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from native_networks import Builder

from edge.engines.native.addresses import Lowered
from edge.engines.native.footprint import plan_listing
from edge.engines.native.listing import training_listing
from edge.engines.native.operands import Operands
from edge.engines.native.prepared import build_model
from edge.engines.native.slots import Slot
from edge.engines.native.tensors import allocate_tensors, describe_update, trained_tensors
from edge.engines.native.weights import Tensor, aligned
from edge.libmest import program as structs
from edge.libmest import vocabulary
from edge.plan.choices import Choices


@pytest.fixture
def lowered() -> tuple[Lowered, dict[str, Tensor]]:
    """A network with a sparse layer, a pooling and a selection, and its tensors."""
    b = Builder((3, 6, 6), 2)
    x = b.max_pool(b.relu6(b.norm(b.conv("input", 8, fmt="csr", bias=True))), 2, 2)
    choices = Choices(batch_size=4, micro_batch=4, threads=2)
    model = build_model(b.head(b.select(x, [2, 0, 2])), choices)
    planned = plan_listing(training_listing(model, 4))
    gradients, tensors = allocate_tensors(model)
    arena = aligned(planned.arena.nbytes, np.uint8)
    params = trained_tensors(tensors)
    made = Lowered(
        model, planned.listing, tensors, gradients, describe_update(choices), params, arena, planned.arena.offsets
    )
    return made, tensors


def step(made: Lowered, op: str) -> structs.Step:
    """The first step of an operator."""
    return made.tables["steps"][made.operators.index(op)]


def test_every_table_has_the_rows_that_steps_name(lowered: tuple[Lowered, dict[str, Tensor]]) -> None:
    """Two passes of two layers, two of the pooling, one optimizer; the program counts them."""
    made, tensors = lowered
    assert made.tables["norm"]
    found = {name: len(made.tables[name]) for name in structs.TABLES if name != "norm" and len(made.tables[name])}
    assert found == {"conv": 4, "pool": 4, "update": 1}
    for name in structs.TABLES:
        assert getattr(made.program, f"{name}_count") == len(made.tables[name])
        assert getattr(made.program, f"{name}s") == ctypes.addressof(made.tables[name])
    assert len(made.tables["param"]) == len(trained_tensors(tensors))


def test_activations_are_read_by_their_number(lowered: tuple[Lowered, dict[str, Tensor]]) -> None:
    """The pooling reads the convolution through its norm and ReLU6; nothing is applied before storing."""
    made, _ = lowered
    assert step(made, "conv").act == 0
    assert step(made, "max_pool").a.act == vocabulary.ACTS.index("relu6")
    assert step(made, "max_pool").a.mean > 0


def test_a_selection_states_its_shape_without_memory(lowered: tuple[Lowered, dict[str, Tensor]]) -> None:
    """Forward there is no gradient, but the number of channels stands in its place."""
    found = step(lowered[0], "select")
    assert (found.g.data, found.g.channels, found.g.height, found.g.width) == (0, 3, 3, 3)
    assert found.channel_list > 0
    assert lowered[0].tables["operand"][found.channel_list - 1].writable == 0


def test_rows_follow_the_number_of_non_zeros(lowered: tuple[Lowered, dict[str, Tensor]]) -> None:
    """Both passes of the layer, and its line of the optimizer."""
    made, tensors = lowered
    sparse = tensors["w0"]
    before = [row.entries for row in made.tables["conv"]]
    sparse.count -= 3
    made.refresh()
    after = [row.entries for row in made.tables["conv"]]
    assert sorted(a - b for a, b in zip(before, after, strict=True)) == [0, 0, 3, 3]
    assert sparse.count in [row.count for row in made.tables["param"]]


def test_the_same_memory_has_the_same_number() -> None:
    """0 is none; parts of a slot are pieces of their own; a list of indices is another operand than the same floats."""
    slot = Slot("norm", "workspace", 24)
    operands = Operands([slot], [64])
    array = np.zeros(4, np.float32)
    assert operands.slot(None) == operands.array(np.empty(0, np.float32)) == 0
    assert operands.slot(slot) == operands.slot(slot) == 1
    assert operands.parts(slot, 3) == (2, 3, 4)
    assert operands.array(array) == operands.array(array) == 5
    assert operands.array(array, writable=False) == 6
    assert [(one.offset, one.nbytes) for one in operands.made()[:4]] == [(64, 24), (64, 8), (72, 8), (80, 8)]
