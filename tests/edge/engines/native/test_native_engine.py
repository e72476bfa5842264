"""The engine around the kernels: plans, states, mutation, and what it says when it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from native_check import assert_close, batch, dense_values
from native_networks import Builder, resnet

from edge.engines.native.engine import NativeEngine
from edge.engines.native.pieces import filled_up
from edge.errors import DamagedError, InputError
from edge.network import Network
from edge.plan.arena import check_arena
from edge.plan.choices import Choices
from edge.weight.formats import kept_mask
from edge.weight.parameter import Parameter
from edge.weight.units import kept_units, unit_weights

FORMATS = ("csr", "block", "pattern", "channel", "masked")


def small(fmt: str) -> Network:
    """A residual network of 6 sparse layers."""
    return resnet(fmt, 0.7, blocks=1, width=8, size=8, classes=3)


def mutating(network: Network, densest: float, **changed) -> Choices:
    """Choices with room for a sparsity."""
    room = dict.fromkeys(network.sparse_parameters(), densest)
    return Choices(batch_size=4, micro_batch=4, threads=2, densest_sparsity=room, **changed)


def current(network: Network, engine: NativeEngine) -> dict[str, Parameter]:
    """The sparse parameters as the engine holds them now."""
    snapshot, found = engine.snapshot(), {}
    for name, parameter in network.sparse_parameters().items():
        held = replace(parameter, format="csr", coding="absolute") if parameter.format == "masked" else parameter
        tensors = {
            part: snapshot[f"{name}/{part}"]
            for part in ("values", "row_starts", "columns", "kernels", "patterns", "channels")
            if f"{name}/{part}" in snapshot
        }
        shape = {"block": (-1, held.height or 1), "pattern": (-1, 4)}.get(held.format)
        if held.format == "channel":
            shape = (held.rows, tensors["channels"].size, *held.shape[2:])
        if shape:
            tensors["values"] = tensors["values"].reshape(shape)
        if held.format == "csr":
            held = replace(held, coding="absolute")
        found[name] = replace(held, tensors=tensors)
    return found


@pytest.mark.parametrize("fmt", FORMATS)
def test_mutation_equals_an_engine_built_with_the_mutated_weights(fmt: str) -> None:
    """After prune and grow every list is right: a fresh engine over the mutated network takes the same next step."""
    network = small(fmt)
    images, labels = batch(network, 4)
    engine = NativeEngine.of(network, mutating(network, 0.5))
    engine.train_step(images, labels, 0.05)
    names = list(network.sparse_parameters())
    result = engine.mutate(dict.fromkeys(names, 0.8), dict.fromkeys(names, 0.6), seed=3, gradient_weight=0.1)
    assert result.removed > 0
    assert result.grown > result.removed
    held = current(network, engine)
    for name, parameter in held.items():
        assert parameter.nonzeros == kept_units(parameter, 0.6) * unit_weights(parameter), name
    others = {
        name: replace(
            parameter, tensors={"values": engine.snapshot()[f"{name}/values"].reshape(parameter.shape).copy()}
        )
        for name, parameter in network.parameters.items()
        if not parameter.sparse
    }
    fresh = NativeEngine.of(
        replace(network, parameters={**held, **others}), Choices(batch_size=4, micro_batch=4, threads=2)
    )
    for name in names:  # survivors keep their momentum: carry it over by position
        source, target = engine.snapshot()[f"{name}/state0"], fresh.snapshot()[f"{name}/state0"]
        target[...] = source
    for name in others:
        if f"{name}/state0" in engine.snapshot():
            fresh.snapshot()[f"{name}/state0"][...] = engine.snapshot()[f"{name}/state0"]
    ours, theirs = engine.train_step(images, labels, 0.05), fresh.train_step(images, labels, 0.05)
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-6)
    after, again = engine.snapshot(), fresh.snapshot()
    assert_close(
        {name: after[name] for name in after if name.endswith("/values")},
        {name: again[name] for name in again},
        1e-5,
    )


@pytest.mark.parametrize("fmt", FORMATS)
def test_mutation_keeps_survivors_and_starts_the_grown_at_zero(fmt: str) -> None:
    """A survivor's value is bit for bit what it was; every grown weight is zero."""
    network = small(fmt)
    engine = NativeEngine.of(network, mutating(network, 0.6))
    name = next(iter(network.sparse_parameters()))
    before = current(network, engine)[name]
    dense = dense_values(before, before.values.reshape(-1).copy())
    mask = kept_mask(before).reshape(before.shape).copy()
    engine.mutate({name: 0.8}, {name: 0.6}, seed=1)
    after = current(network, engine)[name]
    grown = kept_mask(after).reshape(after.shape) & ~mask
    changed = dense_values(after, after.values.reshape(-1))
    stayed = kept_mask(after).reshape(after.shape) & mask
    assert grown.any()
    assert not changed[grown].any()
    if fmt != "pattern":  # a kernel that returns may do so with another pattern
        assert np.array_equal(changed[stayed & (changed != 0)], dense[stayed & (changed != 0)])


def test_mutation_without_room_is_refused() -> None:
    """Growing past what was planned says what was asked and what there is."""
    network = small("csr")
    engine = NativeEngine.of(network, Choices(batch_size=2, micro_batch=2))
    name = next(iter(network.sparse_parameters()))
    with pytest.raises(InputError, match="room for"):
        engine.mutate({name: 0.7}, {name: 0.2}, seed=0)
    with pytest.raises(InputError, match="not a sparse weight"):
        engine.mutate({"w0": 0.7}, {"w0": 0.5}, seed=0)


@pytest.mark.parametrize("fmt", FORMATS)
def test_restored_engine_goes_on_bit_for_bit(fmt: str) -> None:
    """A snapshot taken after a mutation continues in another engine with the same weights as an unbroken run."""
    network = small(fmt)
    images, labels = batch(network, 4)
    choices = mutating(network, 0.6)
    engine, other = NativeEngine.of(network, choices), NativeEngine.of(network, choices)
    names = dict.fromkeys(network.sparse_parameters(), 0.75)
    engine.train_step(images, labels, 0.05)
    engine.mutate(names, dict.fromkeys(names, 0.65), seed=2)
    kept = {name: array.copy() for name, array in engine.snapshot().items()}
    engine.train_step(images, labels, 0.05)
    other.restore(kept)
    other.train_step(images, labels, 0.05)
    ours, theirs = engine.snapshot(), other.snapshot()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert engine.sparsity() == other.sparsity() == pytest.approx(0.65, abs=0.15)


def test_snapshots_that_do_not_fit_are_refused() -> None:
    """A missing tensor, an index out of range and too many weights are damage, not a crash."""
    network = small("csr")
    engine = NativeEngine.of(network, Choices(batch_size=2, micro_batch=2))
    good = {name: array.copy() for name, array in engine.snapshot().items()}
    weight = next(iter(network.sparse_parameters()))
    missing = {name: array for name, array in good.items() if name != f"{weight}/values"}
    with pytest.raises(DamagedError, match="does not fit"):
        engine.restore(missing)
    for part, wrong in (("columns", 60_000), ("row_starts", 1)):
        bad = {**good, f"{weight}/{part}": np.full_like(good[f"{weight}/{part}"], wrong)}
        with pytest.raises(DamagedError, match=part):
            engine.restore(bad)
    engine.restore(good)


@pytest.mark.parametrize("recompute", ["none", "blocks"])
@pytest.mark.parametrize("fmt", ["dense", *FORMATS])
def test_the_plan_is_what_is_held(fmt: str, recompute: str) -> None:
    """The estimate allocates nothing and equals the engine's arrays; its offsets pass the independent check."""
    network = small(fmt)
    choices = replace(mutating(network, 0.6), recompute=recompute)
    planned = NativeEngine.estimate(network, choices)
    engine = NativeEngine.of(network, choices)
    assert engine.footprint == planned
    check_arena(planned.buffers, replace(planned.arena))
    tensors = engine.tensors.values()
    weights = sum(tensor.values.nbytes for tensor in tensors)
    listed = sum(item.nbytes for item in planned.items if item.kind == "weights")
    assert weights <= listed <= weights + 64 * len(tensors)
    assert engine.arena.nbytes == planned.arena.nbytes
    assert planned.arena.nbytes < planned.arena.naive_bytes


def test_recomputing_blocks_takes_less_memory() -> None:
    """Keeping only the inputs of blocks shrinks the arena; a frozen network stores nothing for the backward pass."""
    network = resnet("csr", 0.9, blocks=3, width=8, size=16, classes=3)
    whole = Choices(batch_size=8, micro_batch=8)
    held = {
        name: NativeEngine.estimate(network, choices).arena.nbytes
        for name, choices in {
            "none": whole,
            "blocks": replace(whole, recompute="blocks"),
            "last": replace(whole, trainable="last:1", batch_norm="frozen"),
            "pieces": replace(whole, micro_batch=2),
        }.items()
    }
    assert held["blocks"] < 0.75 * held["none"]
    assert held["last"] < 0.4 * held["none"]
    assert held["pieces"] < 0.5 * held["none"]


def test_predict_any_number_of_images() -> None:
    """Pieces of the planned size and a rest give the logits of one image at a time."""
    network = small("block")
    images, _ = batch(network, 7)
    engine = NativeEngine.of(network, Choices(batch_size=3, micro_batch=3, threads=2))
    whole = engine.predict(images)
    single = np.concatenate([engine.predict(images[i : i + 1]) for i in range(7)])
    np.testing.assert_allclose(whole, single, rtol=1e-5, atol=1e-6)
    assert engine.predict(images[:0]).shape == (0, 3)


def test_what_lies_behind_the_images_changes_no_answer() -> None:
    """The last piece is filled up with it, wherever in their buffer they begin; it is neither copied nor written to."""
    network = small("block")
    images, _ = batch(network, 9)
    engine = NativeEngine.of(network, Choices(batch_size=3, micro_batch=3, threads=2))
    wanted = engine.predict(images[1:5].copy())
    buffer = images.copy()
    buffer[5:] = np.nan
    np.testing.assert_array_equal(engine.predict(buffer[1:5]), wanted)
    assert np.isnan(buffer[5:]).all()
    np.testing.assert_array_equal(filled_up(buffer[1:5], 3, 3), buffer[4:7])
    assert filled_up(buffer[1:5], 3, 3).base is not None
    assert filled_up(buffer[7:9], 0, 3).base is None
    np.testing.assert_array_equal(filled_up(buffer[1:5, :, ::2], 3, 3)[1:], 0)


def test_a_loss_that_is_not_finite_leaves_the_weights_alone() -> None:
    """One bad batch does not destroy what was learnt; the loss says that it was bad."""
    network = small("csr")
    images, labels = batch(network, 2)
    engine = NativeEngine.of(network, Choices(batch_size=2, micro_batch=2))
    before = engine.snapshot()["w0/values"].copy()
    images[0, 0, 0, 0] = np.nan
    assert not np.isfinite(engine.train_step(images, labels, 0.1).loss)
    assert np.array_equal(engine.snapshot()["w0/values"], before)


def test_what_a_step_refuses() -> None:
    """Images of another shape, labels out of range, too many samples, unknown sets: each with what is allowed."""
    network = small("csr")
    engine = NativeEngine.of(network, Choices(batch_size=2, micro_batch=2))
    images, labels = batch(network, 2)
    with pytest.raises(InputError, match="takes \\(n, 3, 8, 8\\)"):
        engine.predict(images[:, :2])
    with pytest.raises(InputError, match="classes 0 to 2"):
        engine.train_step(images, labels + 3, 0.1)
    with pytest.raises(InputError, match="1 to 2 images"):
        engine.train_step(np.concatenate([images, images]), np.concatenate([labels, labels]), 0.1)
    with pytest.raises(InputError, match="sets that run here"):
        NativeEngine.of(network, Choices(batch_size=2, micro_batch=2), "avx1024")
    with pytest.raises(InputError, match="micro-batch"):
        NativeEngine.of(network, Choices(batch_size=2, micro_batch=3))


def test_profiled_steps_name_every_operator() -> None:
    """Every step of the list has a time and the step itself is a real one."""
    network = small("csr")
    images, labels = batch(network, 4)
    choices = Choices(batch_size=4, micro_batch=4, threads=2)
    engine, other = NativeEngine.of(network, choices), NativeEngine.of(network, choices)
    profile = engine.profile_step(images, labels, 0.1)
    assert profile.names == engine.footprint.steps
    assert all(seconds > 0 for seconds in profile.seconds)
    other.train_step(images, labels, 0.1)
    assert np.array_equal(engine.snapshot()["w0/values"], other.snapshot()["w0/values"])


def test_a_missing_library_says_what_to_do(monkeypatch, tmp_path) -> None:
    """Without a compiler at installation the engine names what is missing."""
    from edge.libmest import library

    monkeypatch.setattr(library, "PATH", tmp_path / "libmest.so")
    library.load_library.cache_clear()
    try:
        usable, reason = NativeEngine.available()
        assert not usable
        assert "edge.libmest.build" in reason
        with pytest.raises(InputError, match="compiler"):
            NativeEngine.of(Builder((3, 4, 4), 2).head("input"), Choices(batch_size=1, micro_batch=1))
    finally:
        library.load_library.cache_clear()
