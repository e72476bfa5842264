"""Altered programs: the library refuses them or runs them within their memory, whatever a number in them says."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator

import numpy as np
import pytest
from native_check import batch
from native_guards import mixed
from native_networks import Builder

from edge.engines.native.addresses import Lowered
from edge.engines.native.engine import NativeEngine
from edge.errors import DamagedError
from edge.libmest import program as structs
from edge.libmest import vocabulary
from edge.libmest.library import available
from edge.network import Network
from edge.plan.choices import Choices, Saved

pytestmark = pytest.mark.skipif(not available()[0], reason=f"needs the native engine: {available()[1]}")

# Altered programs in all, and where their random numbers begin: raise the first, move the second, to look further.
CASES = int(os.environ.get("MEST_FUZZ_CASES", "480"))
SEED = int(os.environ.get("MEST_FUZZ_SEED", "0"))
PATTERN = 0xA5
TABLES = (
    "steps",
    "operand",
    "conv",
    "norm",
    "pool",
    "arithmetic",
    "update",
    "samplenorm",
    "attention",
    "tokens",
    "param",
)
CHOICES = (
    Choices(batch_size=8, micro_batch=8, threads=2),
    Choices(batch_size=6, micro_batch=3, recompute="blocks"),
    Choices(batch_size=5, micro_batch=5, batch_norm="frozen", threads=2),
    Choices(batch_size=8, micro_batch=8, saved="int8", recompute="activations"),
)


def numbers(row: ctypes.Structure, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all plain numbers of a struct."""
    for name, _ in row._fields_:
        value = getattr(row, name)
        if isinstance(value, ctypes.Structure):
            yield from numbers(value, (*path, name))
        elif isinstance(value, int | float):
            yield (*path, name)


def altered(program: Lowered, random: np.random.Generator) -> tuple[ctypes.Structure, str, int | float]:
    """One number of one row becomes another: a struct, the field, and what it was before."""
    table = program.tables[random.choice([name for name in TABLES if len(program.tables[name])])]
    row = table[int(random.integers(len(table)))]
    paths = list(numbers(row))
    path = paths[int(random.integers(len(paths)))]
    for name in path[:-1]:
        row = getattr(row, name)
    before = getattr(row, path[-1])
    if isinstance(before, float):
        new: int | float = float(random.choice([0.0, -1.0, np.nan, 1e30]))
    else:
        new = int(random.choice([before + 1, before - 1, 0, 1, -1, 2 * before, before + 64, 2**31 - 1, before ^ 2]))
        new = min(new, 2**31 - 1)
    if isinstance(row, structs.Operand) and (row.segment == vocabulary.HERE or path[-1] == "segment"):
        return row, path[-1], before  # an address of this process is believed: nobody can know what lies there
    setattr(row, path[-1], new)
    return row, path[-1], before


@pytest.mark.parametrize(
    "choices", CHOICES, ids=lambda choices: f"{choices.recompute}-{choices.batch_norm}-{choices.saved}"
)
def test_altered_programs_are_refused_or_stay_within_their_memory(choices: Choices, guarded) -> None:
    """Numbers of operands, places, sizes, shapes, kinds of operator: no byte outside the engine's arrays is written."""
    alter_and_run(mixed(), choices, guarded, CHOICES.index(choices))


@pytest.mark.parametrize("task", ["multilabel", "reconstruction", "segmentation"])
def test_altered_losses(task: str, guarded) -> None:
    """The same where the loss is of many answers, whose targets a call brings along."""
    net = Builder((2, 5, 6), 2, seed=1, task=task)
    value = net.relu(net.conv("input", 4, fmt="csr", sparsity=0.5))
    net.linear(net.global_pool(value), 2) if task == "multilabel" else net.conv(value, 2, bias=True)
    alter_and_run(net.network(), CHOICES[0], guarded, len(CHOICES) + len(task))


def alter_and_run(network: Network, choices: Choices, guarded, number: int) -> None:
    """Alter a program many times, and run it where the library does not refuse it."""
    engine = NativeEngine.of(network, choices)
    images, labels = batch(network, choices.batch_size)
    random = np.random.default_rng([SEED, number])
    program = engine.training[choices.micro_batch]
    refused = ran = 0
    for _ in range(CASES // len(CHOICES)):
        changes = [altered(program, random) for _ in range(random.integers(1, 4))]
        try:
            engine.verify(program)
            engine.train_step(images, labels, 0.01)
            ran += 1
        except DamagedError:
            refused += 1
        what = [(type(row).__name__, field, getattr(row, field)) for row, field, _ in changes]
        for row, field, before in reversed(changes):
            setattr(row, field, before)
        for raw, start, end in guarded:
            assert (raw[:start] == PATTERN).all(), what
            assert (raw[end:] == PATTERN).all(), what
    engine.verify(program)
    engine.close()
    assert refused > CASES // 20
    assert ran > CASES // 20


@pytest.mark.parametrize("saved", ["float32", "bfloat16", "int8"])
def test_every_operand_of_a_step_is_asked_for_its_size(saved: Saved) -> None:
    """With one float less any operand that a step touches is refused, whoever touches it."""
    network = mixed()
    choices = Choices(batch_size=8, micro_batch=8, threads=2, saved=saved)
    engine = NativeEngine.of(network, choices)
    program = engine.training[8]
    kept = []
    for number, operand in enumerate(program.tables["operand"], 1):
        whole = operand.nbytes
        operand.nbytes = whole - 4
        if operand.nbytes >= 0:
            try:
                engine.verify(program)
                kept.append((number, whole))
            except DamagedError:
                pass
        operand.nbytes = whole
    engine.close()
    assert kept == []


def test_a_place_outside_the_arena_is_refused() -> None:
    """Beyond its end, before its beginning, and where no float can stand."""
    network = mixed()
    engine = NativeEngine.of(network, Choices(batch_size=8, micro_batch=8))
    program = engine.training[8]
    operand = next(one for one in program.tables["operand"] if one.segment == vocabulary.ARENA)
    for offset in (engine.arena.size, -64, 2, engine.arena.size - operand.nbytes + 4):
        before, operand.offset = operand.offset, offset
        with pytest.raises(DamagedError, match="out of range"):
            engine.verify(program)
        operand.offset = before
    engine.verify(program)
    engine.close()


def test_a_trained_tensor_without_values_names_no_operand_that_is_not_there() -> None:
    """Its number is looked at even where nothing would be read."""
    network = mixed()
    engine = NativeEngine.of(network, Choices(batch_size=8, micro_batch=8))
    program = engine.training[8]
    row = program.tables["param"][0]
    row.count = 0
    engine.verify(program)
    for number in (-1, program.program.operand_count + 1):
        row.values = number
        with pytest.raises(DamagedError, match="out of range"):
            engine.verify(program)
    engine.close()
