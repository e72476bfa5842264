"""The ort engine against PyTorch, over every representation that export writes, and its own promises."""

from __future__ import annotations

import numpy as np
import pytest
from finetune_example import build_model, make_artifact  # noqa: F401 - a fixture

from edge.engines.available import engine_available
from edge.engines.ort import bindings
from edge.engines.ort.footprint import estimate
from edge.engines.ort.open import open_engine
from edge.errors import DamagedError, InputError
from edge.handover.artifact import open_artifact
from edge.plan.choices import Choices, OptimizerChoice
from edge.run.rate import mutation_bounds

pytestmark = pytest.mark.skipif(
    not engine_available("ort")[0], reason=f"needs engine ort: {engine_available('ort')[1]}"
)

FORMATS = [("block", "auto"), ("irregular", "csr"), ("irregular", "masked")]
SGD = OptimizerChoice(momentum=0.9, weight_decay=1e-4)


def open_example(path, **choices):
    artifact = open_artifact(path)
    chosen = Choices(**{"optimizer": SGD, "batch_size": 16, "micro_batch": 16, **choices})
    return open_engine(artifact, chosen, estimate(artifact.network, chosen))


def batch(count=16, seed=0):
    random = np.random.default_rng(seed)
    return random.standard_normal((count, 1, 8, 8)).astype(np.float32), random.integers(0, 10, count)


@pytest.mark.parametrize(("scheme", "format"), FORMATS)
def test_steps_learn_and_keep_zeros(make_artifact, scheme, format):  # noqa: F811
    """The loss of a repeated batch falls, the sparsity stays, every zero stays zero."""
    engine = open_example(make_artifact(scheme, format))
    images, labels = batch()
    before = engine.sparsity()
    losses = [engine.train_step(images, labels, 0.05).loss for _ in range(12)]
    assert losses[-1] < 0.5 * losses[0]
    assert engine.sparsity() == before == pytest.approx(0.8, abs=0.01)
    assert engine.zeros_kept()
    engine.close()


def test_a_zero_that_moved_is_noticed(make_artifact):  # noqa: F811
    """In a free slot as under a mask."""
    for format in ("csr", "masked"):
        engine = open_example(make_artifact("irregular", format))
        values = engine.session.values["3.weight.values"]
        assert engine.zeros_kept()
        if format == "csr":
            values[-1] = 1e-6
        else:
            values[engine.session.values["3.weight.mask"] == 0] = 1e-6
        assert not engine.zeros_kept()
        engine.close()


def test_pieces_give_the_loss_of_their_mean(make_artifact):  # noqa: F811
    """Pieces of 6, 6 and 4 weigh by their size: the loss is the mean over the samples of what each piece's norm saw."""
    images, labels = batch()
    parts = []
    for piece in (slice(0, 6), slice(6, 12), slice(12, 16)):
        engine = open_example(make_artifact(), batch_size=6, micro_batch=6)
        parts.append(engine.train_step(images[piece], labels[piece], 0.0).loss * len(labels[piece]))
        engine.close()
    engine = open_example(make_artifact(), micro_batch=6)
    result = engine.train_step(images, labels, 0.01)
    assert result.loss == pytest.approx(sum(parts) / 16, rel=1e-5)
    engine.close()


def test_a_piece_repeated_is_the_piece(make_artifact):  # noqa: F811
    """Two equal halves in pieces of a half: the same weights as one half as a whole batch, in every parameter."""
    images, labels = batch(8)
    once = open_example(make_artifact(), batch_size=8, micro_batch=8)
    twice = open_example(make_artifact(), batch_size=16, micro_batch=8)
    once.train_step(images, labels, 0.1)
    twice.train_step(np.concatenate([images, images]), np.concatenate([labels, labels]), 0.1)
    trained = once.session.trainable
    left, right = once.snapshot(), twice.snapshot()
    for name in trained:
        np.testing.assert_allclose(left[name], right[name], rtol=1e-5, atol=1e-6, err_msg=name)
    once.close()
    twice.close()


def test_a_snapshot_restores_bit_for_bit(make_artifact):  # noqa: F811
    """A second engine continues exactly, after mutation too."""
    path = make_artifact()
    images, labels = batch()
    first = open_example(path)
    targets = open_artifact(path).mutation_targets()
    bounds = mutation_bounds("ems", targets, 0.1)
    for step in range(3):
        first.train_step(images, labels, 0.05)
        first.mutate(bounds.prune_to, bounds.grow_to, seed=step)
    saved = {name: array.copy() for name, array in first.snapshot().items()}
    second = open_example(path)
    second.restore(saved)
    for engine in (first, second):
        engine.train_step(images, labels, 0.05)
        engine.mutate(bounds.prune_to, bounds.grow_to, seed=9)
        engine.train_step(images, labels, 0.05)
    left, right = first.snapshot(), second.snapshot()
    for name, array in left.items():
        np.testing.assert_array_equal(array, right[name], err_msg=name)
    np.testing.assert_array_equal(first.predict(images), second.predict(images))
    first.close()
    second.close()


def test_a_foreign_snapshot_is_refused(make_artifact):  # noqa: F811
    """Naming what does not fit."""
    engine = open_example(make_artifact())
    saved = {name: array.copy() for name, array in engine.snapshot().items()}
    name = next(iter(saved))
    with pytest.raises(DamagedError, match=name):
        engine.restore({key: value for key, value in saved.items() if key != name})
    with pytest.raises(DamagedError, match=name):
        engine.restore({**saved, name: np.zeros(3, np.float32)})
    engine.close()


@pytest.mark.parametrize(("scheme", "format"), FORMATS)
def test_mutation_moves_weights_and_keeps_the_count(make_artifact, scheme, format):  # noqa: F811
    """Grown weights start at zero, so the logits change only by what was pruned; then they learn."""
    path = make_artifact(scheme, format)
    engine = open_example(path)
    images, labels = batch()
    engine.train_step(images, labels, 0.05)
    bounds = mutation_bounds("em", open_artifact(path).mutation_targets(), 0.0)
    before = engine.sparsity()
    done = engine.mutate(bounds.prune_to, bounds.grow_to, seed=1, gradient_weight=0.1)
    assert done.removed == done.grown > 0
    assert engine.sparsity() == before
    losses = [engine.train_step(images, labels, 0.05).loss for _ in range(10)]
    assert losses[-1] < losses[0]
    assert engine.zeros_kept()
    engine.close()


def test_only_the_asked_layers_move(make_artifact):  # noqa: F811
    """With fewer trained than exported, the rest stays bit for bit."""
    engine = open_example(make_artifact(), trainable="last:1")
    before = {name: array.copy() for name, array in engine.snapshot().items() if not name.startswith("optimizer")}
    engine.train_step(*batch(), 0.1)
    moved = {name for name, array in before.items() if (engine.snapshot()[name] != array).any()}
    assert {"11.weight", "11.bias"} <= moved
    assert not any(name in moved for name in ("0.weight", "3.weight.values", "6.weight.values"))
    engine.close()


def test_predictions_do_not_depend_on_the_pieces(make_artifact):  # noqa: F811
    """Whole, or in pieces with a rest."""
    images, _ = batch(11)
    whole, pieces = open_example(make_artifact()), open_example(make_artifact(), micro_batch=4)
    np.testing.assert_allclose(whole.predict(images), pieces.predict(images), rtol=1e-5, atol=1e-5)
    whole.close()
    pieces.close()


def test_a_step_is_that_of_pytorch(make_artifact):  # noqa: F811
    """Masked dense training with the same weights: loss and every updated weight after three steps."""
    torch = pytest.importorskip("torch", reason="needs torch as the referee")
    path = make_artifact("irregular", "masked")
    engine = open_example(path)
    model = build_model()
    parameters = dict(model.named_parameters())
    views = engine.session.values
    masks = {name: torch.from_numpy(views[f"{name}.mask"].copy()) for name in ("3.weight", "6.weight")}
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(torch.from_numpy(views.get(f"{name}.values", views.get(name)).copy()))
        for name, buffer in model.named_buffers():
            if name in views:
                buffer.copy_(torch.from_numpy(views[name].copy()))
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-4)
    for seed in range(3):
        images, labels = batch(seed=seed)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(torch.from_numpy(images)), torch.from_numpy(labels))
        loss.backward()
        for name, mask in masks.items():
            parameters[name].grad *= mask
        optimizer.step()
        assert engine.train_step(images, labels, 0.05).loss == pytest.approx(loss.item(), rel=1e-4)
    for name, parameter in parameters.items():
        ours = views.get(f"{name}.values", views.get(name))
        np.testing.assert_allclose(ours, parameter.detach().numpy(), rtol=1e-3, atol=2e-5, err_msg=name)
    engine.close()


def test_a_checkpoint_that_does_not_load_is_damage(make_artifact, tmp_path):  # noqa: F811
    """Not a traceback of the library."""
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(make_artifact(), copy)
    artifact = open_artifact(copy)
    (copy / "training_model.onnx").write_bytes(b"nothing")
    chosen = Choices(optimizer=SGD)
    with pytest.raises(DamagedError, match="does not load"):
        open_engine(artifact, chosen, estimate(artifact.network, chosen))


def test_without_the_package_it_says_what_to_install(monkeypatch):
    """And that the native engine needs none."""
    monkeypatch.setattr(bindings, "_library", lambda: None)
    monkeypatch.delitem(bindings.sys.modules, "onnxruntime.capi.onnxruntime_pybind11_state", raising=False)
    assert bindings.available()[0] is False
    with pytest.raises(InputError, match="engine native"):
        bindings.load_bindings()
