"""The loss of every task: its gradient against finite differences, and the native engine against the numpy referee."""

from __future__ import annotations

import numpy as np
import pytest
from native_check import assert_step, batch
from native_networks import Builder

from edge.engines.native.engine import NativeEngine
from edge.engines.reference import Reference
from edge.engines.reference.loss import LOSSES
from edge.errors import InputError
from edge.libmest.library import available, instruction_sets
from edge.network import Network
from edge.plan.choices import Choices
from edge.tasks.registry import TASKS
from edge.tasks.segmentation import IGNORED

needs_library = pytest.mark.skipif(not available()[0], reason=f"needs the native engine: {available()[1]}")
OTHERS = [name for name in TASKS if name != "classification"]
SETS = instruction_sets() if available()[0] else ()


def network(name: str, image: tuple[int, int, int] = (2, 5, 7), classes: int = 3) -> Network:
    """Two convolutions, the first sparse, that end in what the task needs."""
    task = TASKS[name]
    pixels = len(task.output(classes, image)) == 3
    net = Builder(image, image[0] if task.array is None else classes, seed=3, task=name)
    value = net.relu(net.norm(net.conv("input", 8, fmt="csr", sparsity=0.5)))
    if pixels:
        net.conv(value, net.classes, bias=True)
    else:
        net.linear(net.global_pool(value), classes)
    return net.network()


@pytest.mark.parametrize("name", TASKS)
def test_gradient_is_the_slope_of_the_loss(name: str) -> None:
    """Finite differences in every answer, on an odd shape."""
    task, output, random = TASKS[name], TASKS[name].output(3, (2, 3, 5)), np.random.default_rng(0)
    answers = random.normal(size=(4, *output))
    wanted = task.against(random.normal(size=(4, *output)), task.noise(4, output, random))
    smoothing = 0.1 if task.of_classes else 0.0
    _, gradient = LOSSES[name](answers, wanted, smoothing)
    for place in random.integers(0, answers.size, 30):
        moved = np.zeros(answers.size)
        moved[place] = 1e-6
        moved = moved.reshape(answers.shape)
        rise = LOSSES[name](answers + moved, wanted, smoothing)[0] - LOSSES[name](answers - moved, wanted, smoothing)[0]
        assert gradient.reshape(-1)[place] == pytest.approx(rise / 2e-6, abs=1e-8)


@needs_library
@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("name", OTHERS)
def test_native_step_is_the_referees(name: str, instruction_set: str) -> None:
    """Whole batches and pieces of which the last is smaller, on one thread and on three."""
    for choices in (
        Choices(batch_size=7, micro_batch=7, threads=3),
        Choices(batch_size=7, micro_batch=3, batch_norm="frozen", recompute="activations"),
    ):
        assert_step(network(name), choices, instruction_set=instruction_set, steps=2)


@needs_library
@pytest.mark.parametrize("name", OTHERS)
def test_loss_does_not_depend_on_threads(name: str) -> None:
    """The same bits for one, two and five threads, where no batch norm's sums are shared among them."""
    net, losses = network(name, (2, 9, 4)), set()
    images, labels = batch(net, 6)
    for threads in (1, 2, 5):
        engine = NativeEngine.of(net, Choices(6, 6, threads=threads, batch_norm="frozen"))
        losses.add(engine.train_step(images, labels, 0.0).loss)
        engine.close()
    assert len(losses) == 1


@needs_library
@pytest.mark.parametrize("without", [(0,), (0, 1), (0, 1, 2)])
def test_pieces_are_weighed_by_their_pixels_that_have_a_class(without: tuple[int, ...]) -> None:
    """Of three samples some have none: in pieces of one sample the step is that of the whole batch, and never a NaN."""
    net = network("segmentation")
    images, masks = batch(net, 3)
    masks[1, :, :4] = IGNORED
    masks[list(without)] = IGNORED
    found = []
    for size in (3, 1):
        choices = Choices(batch_size=3, micro_batch=size, batch_norm="frozen")
        reference, engine = Reference(net, choices), NativeEngine.of(net, choices)
        expected, result = reference.train_step(images, masks, 0.1), engine.train_step(images, masks, 0.1)
        assert result.loss == pytest.approx(expected.loss, rel=1e-5)
        found.append((expected.loss, engine.predict(images), reference.predict(images)))
        engine.close()
    (whole, native, exact), (pieced, native_pieced, exact_pieced) = found
    assert whole == pytest.approx(pieced, abs=1e-12)
    assert (whole == 0) == (len(without) == 3)
    np.testing.assert_allclose(exact, exact_pieced, atol=1e-12)
    np.testing.assert_allclose(native, native_pieced, atol=1e-4)
    np.testing.assert_allclose(native, exact, atol=1e-4)


@needs_library
@pytest.mark.parametrize(
    ("name", "labels", "said"),
    [
        ("multilabel", np.zeros((2, 2), np.uint8), "0 or 1 for each of 3 labels"),
        ("regression", np.zeros(2, np.float32), "3 numbers each"),
        ("segmentation", np.zeros((2, 5, 6), np.uint8), "a mask of 5x7 pixels each"),
        ("segmentation", np.full((2, 5, 7), 9, np.uint8), "a pixel of class 9"),
    ],
)
def test_targets_that_do_not_fit_are_refused(name: str, labels: np.ndarray, said: str) -> None:
    """The library is handed none of them."""
    net = network(name)
    engine = NativeEngine.of(net, Choices(batch_size=2, micro_batch=2))
    with pytest.raises(InputError, match=said):
        engine.train_step(np.zeros((2, *net.input), np.float32), labels, 0.1)
    engine.close()
