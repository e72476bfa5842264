"""The small Python API, on one's own arrays."""

from __future__ import annotations

import numpy as np
import pytest
from finetune_example import digits, make_artifact  # noqa: F401 - a fixture

import edge
from edge.errors import BudgetError, InputError
from edge.libraries import ENGINES, engine_available
from edge.plan.search import Request

HERE = [name for name in ENGINES if engine_available(name)[0]]
pytestmark = pytest.mark.skipif(not HERE, reason="needs an engine: neither native nor ort runs here")


def arrays(count):
    images, labels = digits(count, shift=1)
    scaled = images[:, None].astype(np.float32) / 255
    return (scaled - np.float32(0.3)) / np.float32(0.37), labels


@pytest.mark.parametrize("engine", HERE)
def test_a_loop_of_ones_own_learns_and_saves(make_artifact, tmp_path, engine):  # noqa: F811
    """Load, train, predict, save, and load what was saved."""
    images, labels = arrays(96)
    with edge.load(make_artifact(), engine=engine, request=Request(batch_size=32)) as model:
        first = model.train_step(images[:32], labels[:32], 0.05)
        for _ in range(10):
            for start in range(0, 96, 32):
                last = model.train_step(images[start : start + 32], labels[start : start + 32], 0.05)
        assert last.loss < first.loss
        assert model.zeros_kept
        assert model.sparsity == pytest.approx(0.8, abs=0.01)
        logits = model.predict(images)
        assert logits.shape == (96, 10)
        model.save(tmp_path / "state")
    with edge.load(tmp_path / "state", engine=engine, request=Request(batch_size=32)) as again:
        np.testing.assert_allclose(again.predict(images), logits, rtol=1e-5, atol=1e-6)
        assert again.class_names[3] == "3"


def test_a_budget_holds_here_too(make_artifact):  # noqa: F811
    """What cannot fit is refused before anything is allocated."""
    with pytest.raises(BudgetError):
        edge.load(make_artifact(), memory_budget="4MiB", engine=HERE[0])


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 1, 8, 9), np.float32), [0, 1], "needed is"),
        (np.zeros((2, 1, 8, 8), np.float32), [0], "labels"),
        (np.zeros((2, 1, 8, 8), np.float32), [0, 10], "0 to 9"),
        (np.zeros((99, 1, 8, 8), np.float32), [0] * 99, "1 to 32"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(make_artifact, images, labels, message):  # noqa: F811
    """With the shape that is needed."""
    with edge.load(make_artifact(), engine=HERE[0]) as model, pytest.raises(InputError, match=message):
        model.train_step(images, np.array(labels), 0.1)


def test_importing_edge_loads_nothing():
    """Names that it lacks are said, names that it has are loaded then."""
    with pytest.raises(AttributeError, match="Model, load"):
        edge.train  # noqa: B018 - the access is the test
