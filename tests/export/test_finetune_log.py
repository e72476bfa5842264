"""`mest finetune --log`: TensorBoard's files of a run in a process of its own, without PyTorch in it."""

from __future__ import annotations

import json

import pytest
from finetune_example import make_artifact, mest, shifted  # noqa: F401 - fixtures

from edge.engines.available import engine_available
from edge.report.record import read_record

ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(not usable, reason=f"needs engine {name}: {reason}"))
    for name in ("native", "ort")
    for usable, reason in [engine_available(name)]
]


def points(folder):
    """Steps and values of every curve, as TensorBoard itself reads them."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = reader.EventAccumulator(str(folder))
    found.Reload()
    return {name: [(one.step, one.value) for one in found.Scalars(name)] for name in found.Tags()["scalars"]}


@pytest.mark.parametrize("engine", ENGINES)
def test_tensorboard_reads_what_the_record_says(make_artifact, shifted, tmp_path, engine):  # noqa: F811
    """Loss, accuracy, rate, memory and mutations of every epoch, then the result; a resumed run adds its epochs."""
    pytest.importorskip("tensorboard")
    state = tmp_path / "state"
    words = [make_artifact(), "--data", shifted, "--out", state, "--engine", engine, "--threads", 1, "--seed", 1]
    words += ["--hold-out", 0.25, "--log", "tensorboard", "--json"]
    run = ["--epochs", 2, "--lr", 0.05, "--lr-scheduler", "linear", "--mutate", "em", "--mutate-every", 4]
    done = mest("finetune", *words, *run, "--patience", 9)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    found, training = points(state / "tensorboard"), read_record(state / "record.json").training
    assert found["loss/train"] == [(each.epoch - 1, pytest.approx(each.loss, rel=1e-6)) for each in training.epochs]
    trained = [(each.epoch - 1, pytest.approx(each.train_accuracy)) for each in training.epochs]
    assert found["accuracy/train"] == trained
    assert [step for step, _ in found["accuracy/held_out"]] == [0, 1]
    assert found["learning_rate"] == [(0, pytest.approx(0.05 * 11 / 20)), (1, pytest.approx(0.05 / 20))]
    assert found["sparsity"][-1] == (1, pytest.approx(result["sparsity"]))
    assert found["accuracy/after"] == [(2, pytest.approx(result["accuracy_after"]))]
    grown = [sum(each.grown for each in training.mutations if first < each.step <= first + 10) for first in (0, 10)]
    assert found["mutation/grown"] == [(epoch, count) for epoch, count in enumerate(grown) if count]
    assert grown[0] > 0
    if result["measured_peak_bytes"] is not None:
        assert all(0 < value <= result["measured_peak_bytes"] for _, value in found["memory/resident_bytes"])

    done = mest("finetune", *words, "--resume", "--epochs", 3)
    assert done.returncode == 0, done.stderr
    assert [step for step, _ in points(state / "tensorboard")["loss/train"]] == [0, 1, 2]


def test_a_log_that_cannot_be_is_refused_before_anything_is_written(make_artifact, shifted, tmp_path):  # noqa: F811
    """Exit code 2 and one line."""
    done = mest("finetune", make_artifact(), "--data", shifted, "--out", tmp_path / "s", "--log", "tensorbord")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "--log tensorbord: allowed are none, tensorboard[:DIR], wandb[:PROJECT]" in done.stderr
    assert not (tmp_path / "s").exists()
