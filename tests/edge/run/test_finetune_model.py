"""The small Python API, on one's own arrays."""

from __future__ import annotations

import numpy as np
import pytest
from finetune_example import digits, make_artifact  # noqa: F401 - a fixture

import edge
from edge.engines.available import engine_available
from edge.errors import BudgetError, ClosedError, InputError
from edge.handover.state import read_state
from edge.plan.choices import ENGINES
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
    with pytest.raises(AttributeError, match=r"Model, MutationResult, .*load"):
        edge.train  # noqa: B018 - the access is the test


@pytest.mark.parametrize("engine", HERE)
def test_two_threads_get_their_own_answers(make_artifact, engine):  # noqa: F811
    """Both predict at once, each its own images, with two threads in the engine."""
    images, _ = arrays(64)
    with edge.load(make_artifact(), engine=engine, request=Request(batch_size=32, threads=2)) as model:
        parts = [images[:32].copy(), images[32:].copy()]
        expected = [model.predict(part) for part in parts]
        wrong = [0, 0]

        def ask(number):
            for _ in range(150):
                wrong[number] += not np.array_equal(model.predict(parts[number]), expected[number])

        run_together(ask, [0, 1])
        assert wrong == [0, 0]


@pytest.mark.parametrize("engine", HERE)
def test_training_beside_prediction_is_as_training_alone(make_artifact, tmp_path, engine):  # noqa: F811
    """One thread trains, saves and mutates while another predicts: the weights are those of a loop without it."""
    images, labels = arrays(32)
    ends = []
    for others in (0, 1):
        with edge.load(make_artifact(), engine=engine, request=Request(batch_size=32), mutate="em") as model:

            def train(model=model, others=others):
                for _ in range(12):
                    model.train_step(images, labels, 0.02)
                model.mutate(0.1)
                model.save(tmp_path / f"beside-{others}")

            def ask(model=model):
                for _ in range(40):
                    model.predict(images)

            run_together(lambda task: task(), [train, *[ask] * others])
        ends.append(read_state(tmp_path / f"beside-{others}").tensors)
    assert sorted(ends[0]) == sorted(ends[1])
    for name, array in ends[0].items():
        np.testing.assert_array_equal(array, ends[1][name], err_msg=name)


def run_together(task, arguments):
    """Every call of the task in a thread of its own; an error in one of them is raised here."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(arguments)) as pool:
        for future in [pool.submit(task, argument) for argument in arguments]:
            future.result()


@pytest.mark.parametrize("engine", HERE)
def test_a_closed_model_says_so(make_artifact, tmp_path, engine):  # noqa: F811
    """Everything that needs the engine, by one error; what was saved before stays as it was."""
    images, labels = arrays(8)
    with edge.load(make_artifact(), engine=engine, mutate="em") as model:
        model.train_step(images, labels, 0.1)
        model.save(tmp_path / "s")
        engine_itself = model._session.engine
    before = read_state(tmp_path / "s")
    for ask in (
        lambda: model.predict(images),
        lambda: model.train_step(images, labels, 0.1),
        lambda: model.mutate(0.0),
        lambda: model.save(tmp_path / "s"),
        lambda: model.sparsity,
        lambda: model.zeros_kept,
        lambda: engine_itself.predict(images),
        lambda: engine_itself.train_step(images, labels, 0.1),
        lambda: engine_itself.mutate({"3.weight": 0.8}, {"3.weight": 0.8}, 0),
        engine_itself.snapshot,
        engine_itself.sparsity,
        engine_itself.zeros_kept,
        lambda: engine_itself.restore(before.tensors),
    ):
        with pytest.raises(ClosedError, match="the model is closed"):
            ask()
    assert read_state(tmp_path / "s").generation == before.generation
    assert model.plan.engine == engine
    assert model.class_names[3] == "3"
    model.close()


@pytest.mark.parametrize("engine", HERE)
def test_two_models_share_nothing(make_artifact, engine):  # noqa: F811
    """Each trained by a thread of its own at the same time, it loses what it loses alone."""
    images, labels = arrays(32)

    def losses(_):
        with edge.load(make_artifact(), engine=engine, request=Request(batch_size=32, threads=2)) as model:
            return [model.train_step(images, labels, 0.05).loss for _ in range(30)]

    alone = losses(0)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(losses, [0, 1])) == [alone, alone]
