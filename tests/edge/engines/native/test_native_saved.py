"""Tensors kept in fewer bits: what is stored, what the gradients become, and what stays as it is."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import numpy as np
import pytest
from narrow_referee import ROUNDINGS, NarrowReference, bfloat16
from native_check import batch, engine_tensors
from native_guards import mixed
from native_networks import resnet

from edge.engines.native.engine import NativeEngine
from edge.engines.native.listing import training_listing
from edge.engines.native.prepared import build_model
from edge.errors import DamagedError
from edge.libmest import program as structs
from edge.libmest import vocabulary
from edge.libmest.library import available, instruction_sets
from edge.network import Network
from edge.plan.choices import Choices, Recompute, Saved

pytestmark = pytest.mark.skipif(not available()[0], reason=f"needs the native engine: {available()[1]}")

SETS = instruction_sets() if available()[0] else ()
NARROW: tuple[Saved, ...] = ("bfloat16", "int8")
RECOMPUTE: tuple[Recompute, ...] = ("none", "activations", "blocks")
STEP = {"bfloat16": 2**-8, "int8": 1 / 127}  # of what is rounded, or of the largest number of a group
# Gradients move by a few steps, and by whole entries where a number within half a step of an activation's bend changes
# sides: as many as a step is wide, so that their length is its root.
BOUND = {saved: 4 * step + 1.5 * step**0.5 for saved, step in STEP.items()}
NETWORKS = {"mixed": mixed, "residual": lambda: resnet("csr", 0.9, blocks=2, width=8, size=16)}


def gradients(network: Network, choices: Choices, instruction_set: str = "") -> tuple[float, dict[str, np.ndarray]]:
    """Loss and gradients of one step, by parameter."""
    engine = NativeEngine.of(network, choices, instruction_set)
    images, labels = batch(network, choices.batch_size)
    loss = engine.train_step(images, labels, 0.0).loss
    found = engine_tensors(network, engine.snapshot(), "gradient")
    engine.close()
    return loss, found


def apart(ours: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> float:
    """Length of the difference of all gradients over that of the gradients."""
    mine, theirs = (np.concatenate([found[name].ravel() for name in sorted(ours)]) for found in (ours, others))
    return float(np.linalg.norm(mine - theirs) / np.linalg.norm(theirs))


def test_bfloat16_rounds_to_the_nearest_even() -> None:
    """By eye: between 1 and the next number, 1 + 2^-7, both ties go to the even one, and infinity and NaN stay."""
    step = 2.0**-7
    given = np.array([1, 1 + step / 2, 1 + step * 1.5, 1 + step * 0.51, -1 - step / 2, np.inf, np.nan, 0], np.float32)
    wanted = np.array([1, 1, 1 + 2 * step, 1 + step, -1, np.inf, np.nan, 0], np.float32)
    np.testing.assert_array_equal(bfloat16(given), wanted)


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("saved", NARROW)
def test_what_is_kept_is_what_was_stored_rounded(saved: Saved, instruction_set: str) -> None:
    """Every step that narrows, run up to it: bit for bit for bfloat16, to the nearest step of its group for int8."""
    network = mixed()
    choices = Choices(batch_size=5, micro_batch=5, threads=2, saved=saved)
    engine = NativeEngine.of(network, choices, instruction_set)
    lowered, (images, labels) = engine.training[5], batch(network, 5)
    operands, seen = lowered.tables["operand"], 0

    def floats(number: int, dtype: type) -> np.ndarray:
        operand = operands[number - 1]
        return engine.arena[operand.offset : operand.offset + operand.nbytes].view(dtype)

    for number, step in enumerate(lowered.tables["steps"]):
        if vocabulary.OPS[step.op] != "narrow":
            continue
        call = structs.Call(images=images.ctypes.data, labels=labels.ctypes.data, batch=5, micro_batches=1)
        call.body = call.end = number + 1
        engine._library.mest_run(engine._handle, ctypes.byref(lowered.program), ctypes.byref(call))
        stored = floats(step.a.data, np.float32).copy()
        if step.b.origin:
            plane = step.a.height * step.a.width * lowered.program.samples
            stored -= np.resize(np.repeat(floats(step.b.origin, np.float32), plane), stored.size)
        if saved == "bfloat16":
            kept = floats(step.b.data, np.uint16).astype(np.uint32) << 16
            np.testing.assert_array_equal(kept.view(np.float32), bfloat16(stored), err_msg=lowered.names[number])
        else:
            groups = floats(step.b.data, np.int8).reshape(-1, 4 + vocabulary.SAVED_GROUP)
            scales = np.ascontiguousarray(groups[:, :4]).view(np.float32)
            kept = (groups[:, 4:] * scales).reshape(-1)[: stored.size]
            steps = np.repeat(scales, vocabulary.SAVED_GROUP)[: stored.size]
            assert (np.abs(kept - stored) <= 0.5001 * steps + 1e-30).all(), lowered.names[number]
            assert (np.abs(groups[:, 4:]).max(axis=1)[scales[:, 0] > 0] == 127).all()
        seen += 1
    engine.close()
    assert seen > 15


@pytest.mark.parametrize("batch_norm", ["train", "frozen"])
@pytest.mark.parametrize("saved", NARROW)
@pytest.mark.parametrize("network", NETWORKS)
def test_gradients_are_those_of_the_rounded_tensors(network: str, saved: Saved, batch_norm) -> None:
    """The reference with the same rounding explains nearly all of the difference to float32."""
    found = NETWORKS[network]()
    choices = Choices(batch_size=8, micro_batch=8, threads=2, saved=saved, batch_norm=batch_norm)
    images, labels = batch(found, 8)
    _, ours = gradients(found, choices)
    _, exact = gradients(found, replace(choices, saved="float32"))
    emulated = NarrowReference(found, choices).batch_gradients(images, labels)
    assert STEP[saved] / 50 < apart(ours, exact) < BOUND[saved]
    assert apart(ours, emulated) < 0.15 * apart(ours, exact)


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("recompute", RECOMPUTE)
@pytest.mark.parametrize("saved", NARROW)
def test_nothing_but_gradients_changes(saved: Saved, recompute: Recompute, instruction_set: str) -> None:
    """Loss and statistics are float32's bit for bit; gradients lie within a few steps of the rounding."""
    network = mixed()
    choices = Choices(batch_size=6, micro_batch=3, threads=2, recompute=recompute)
    ends = []
    for one in ("float32", saved):
        engine = NativeEngine.of(network, replace(choices, saved=one), instruction_set)
        images, labels = batch(network, 6)
        loss = engine.train_step(images, labels, 0.0).loss
        snapshot = engine.snapshot()
        gradient = engine_tensors(network, snapshot, "gradient")
        still = {name: array.copy() for name, array in snapshot.items() if name.removesuffix("/values") not in gradient}
        ends.append((loss, gradient, {name: still[name] for name in still if name.endswith("/values")}))
        engine.close()
    assert ends[0][0] == ends[1][0]
    assert ends[0][2].keys() == ends[1][2].keys()
    assert len(ends[0][2]) > 4
    for name, array in ends[0][2].items():
        np.testing.assert_array_equal(array, ends[1][2][name], err_msg=name)
    assert 0 < apart(ends[1][1], ends[0][1]) < BOUND[saved]


@pytest.mark.parametrize("recompute", RECOMPUTE)
@pytest.mark.parametrize("saved", NARROW)
def test_steps_repeat_bit_for_bit(saved: Saved, recompute: Recompute) -> None:
    """The same number of threads gives the same weights."""
    network = mixed()
    choices = Choices(batch_size=8, micro_batch=8, threads=3, saved=saved, recompute=recompute)
    images, labels = batch(network, 8)
    ends = []
    for _ in range(2):
        engine = NativeEngine.of(network, choices)
        for _ in range(3):
            engine.train_step(images, labels, 0.05)
        ends.append({name: array.copy() for name, array in engine.snapshot().items()})
        engine.close()
    for name, array in ends[0].items():
        np.testing.assert_array_equal(array, ends[1][name], err_msg=name)


@pytest.mark.parametrize("recompute", RECOMPUTE)
def test_what_is_kept_takes_its_own_bytes(recompute: Recompute) -> None:
    """Half, and 17/64, of float32's; the arena shrinks with it."""
    network = NETWORKS["residual"]()
    arenas = []
    for saved, share in (("float32", 1.0), ("bfloat16", 0.5), ("int8", 17 / 64)):
        model = build_model(network, Choices(batch_size=32, micro_batch=32, saved=saved, recompute=recompute))
        listing = training_listing(model, 32)
        turn = next(i for i, spec in enumerate(listing.specs) if spec.op == "loss")
        kept = [
            slot.nbytes
            for slot, buffer in zip(listing.slots, listing.buffers, strict=True)
            if buffer.kind == "saved activations" and buffer.first < turn < buffer.last - 1 and buffer.nbytes > 2048
        ]
        arenas.append((sum(kept), share, NativeEngine.estimate(network, model.choices).arena.nbytes))
    whole = arenas[0]
    for kept, share, arena in arenas[1:]:
        assert abs(kept / whole[0] - share) < 0.02
        assert arena < whole[2] * (1 if recompute == "blocks" else 0.5 + share / 2)


def test_a_diverged_tensor_is_seen_in_the_gradients() -> None:
    """A number that is not finite stays so, or makes its group NaN: no rounding hides it."""
    for saved in NARROW:
        for bad in (np.nan, np.inf, -np.inf):
            x = np.ones(128, np.float32)
            x[70] = bad
            with np.errstate(invalid="ignore"):
                kept = ROUNDINGS[saved](x)
            assert not np.isfinite(kept[70])
            assert np.isfinite(kept[:64]).all()


@pytest.mark.parametrize("saved", NARROW)
def test_another_form_than_was_stored_is_refused(saved: Saved) -> None:
    """Of a view, a gradient, an operand, and for a step that reads floats alone."""
    network = mixed()
    engine = NativeEngine.of(network, Choices(batch_size=8, micro_batch=8, saved=saved))
    program = engine.training[8]
    steps, operands = program.tables["steps"], program.tables["operand"]
    other = vocabulary.BFLOAT16 if saved == "int8" else vocabulary.INT8
    seen = 0

    def refused(row: ctypes.Structure, field: str, value: int) -> None:
        nonlocal seen
        before = getattr(row, field)
        setattr(row, field, value)
        with pytest.raises(DamagedError, match="out of range"):
            engine.verify(program)
        setattr(row, field, before)
        seen += 1

    for step in steps:
        for part in (step.a, step.b, step.g, step.sums):
            if part.storage == vocabulary.FLOAT32:
                continue
            for storage in (vocabulary.FLOAT32, other, len(vocabulary.SAVED), -1):
                refused(part, "storage", storage)
    assert seen > 100
    for operand in operands:
        for storage in {vocabulary.FLOAT32, other, -1, len(vocabulary.SAVED)} - {operand.storage}:
            refused(operand, "storage", storage)
    narrow = next(step for step in steps if vocabulary.OPS[step.op] == "narrow")
    refused(narrow, "out", narrow.a.data)
    widen = next(step for step in steps if vocabulary.OPS[step.op] == "widen")
    refused(widen, "op", vocabulary.OPS.index("attention"))
    refused(widen, "out", widen.a.data)
    engine.verify(program)
    engine.close()
