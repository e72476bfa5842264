"""Metrics of every task on cases that are worked out by hand, what targets are refused, and how answers are written."""

from __future__ import annotations

import numpy as np
import pytest

from edge.tasks.registry import TASKS
from edge.tasks.segmentation import IGNORED

OUTPUTS = {
    "classification": (4,),
    "multilabel": (3,),
    "regression": (2,),
    "reconstruction": (2, 3, 4),
    "segmentation": (3, 4, 5),
}


def values(name: str, answers, targets) -> dict[str, float]:
    """The metrics of a few answers, by name."""
    task = TASKS[name]
    found = task.values(task.counts(np.array(answers, np.float32), np.array(targets, task.dtype)))
    return dict(zip((metric.key for metric in task.metrics), found, strict=True))


def test_labels_of_which_one_never_occurs() -> None:
    """F1 of the first label is 2/3, of the second 0; the third is neither there nor given, and does not count."""
    found = values("multilabel", [[1, -1, -1], [1, 2, -1], [-3, -1, -1]], [[1, 0, 0], [0, 0, 0], [0, 1, 0]])
    assert found == pytest.approx({"macro_f1": (2 / 3 + 0) / 2, "exact_match": 1 / 3})


def test_errors_of_numbers() -> None:
    """Errors 1, -1, 2 and 0."""
    found = values("regression", [[1, 2], [5, 7]], [[0, 3], [3, 7]])
    assert found == pytest.approx({"rmse": 1.5**0.5, "mae": 1.0})


def test_error_of_the_input_itself() -> None:
    """A vector is one row in the network, whatever shape the last operator gives it."""
    task = TASKS["reconstruction"]
    images = np.array([[[[1.0]], [[2.0]]]], np.float32)
    counts = task.counts(np.array([[1.0, 5.0]], np.float32), task.against(images, np.zeros((1, 0))))
    assert task.values(counts) == pytest.approx((4.5,))
    assert task.answer(np.array([1.0, 5.0]), images[0], ()) == pytest.approx({"error": 4.5})


def test_pixels_of_which_some_have_no_class() -> None:
    """Class 0 meets 2 of 4, class 1 meets 1 of 3, class 2 is nowhere; the ignored pixel counts for none."""
    found_classes = np.array([[[0, 0, 0], [1, 1, 0]]])
    logits = np.stack([found_classes == number for number in range(3)], axis=1)
    found = values("segmentation", logits, [[[0, 0, 1], [1, 0, IGNORED]]])
    assert found == pytest.approx({"mean_iou": (2 / 4 + 1 / 3) / 2, "pixel_accuracy": 3 / 5})


@pytest.mark.parametrize("name", TASKS)
def test_counts_of_batches_add_up(name: str) -> None:
    """Whatever pieces answers are judged in, the metrics are those of all; and those of nothing are finite."""
    task, output, random = TASKS[name], OUTPUTS[name], np.random.default_rng(1)
    answers = random.normal(size=(7, *output)).astype(np.float32)
    images = random.normal(size=(7, *output)).astype(np.float32)
    wanted = task.against(images, task.noise(7, output, random))
    pieces = [slice(0, 2), slice(2, 3), slice(3, 7)]
    counts = sum(task.counts(answers[piece], wanted[piece]) for piece in pieces)
    assert task.values(counts) == pytest.approx(task.values(task.counts(answers, wanted)))
    assert np.isfinite(task.values(task.counts(answers[:0], wanted[:0]))).all()
    assert task.noise(7, output).shape == (7, *task.target(output))


@pytest.mark.parametrize(
    ("name", "targets", "said"),
    [
        ("classification", [4], "labels from 4 to 4: this network has classes 0 to 3"),
        ("multilabel", [[0, 2, 1]], "labels up to 2: of several labels each is 0 or 1"),
        ("regression", [[0.0, np.nan]], "targets that are not finite"),
        ("segmentation", [[[3, IGNORED]]], "a pixel of class 3: this network has classes 0 to 2, and 255 is ignored"),
    ],
)
def test_targets_that_mean_nothing(name: str, targets, said: str) -> None:
    """Each says what was found and what is allowed."""
    task = TASKS[name]
    assert task.wrong(np.array(targets, task.dtype), OUTPUTS[name]) == said


def test_gain_is_what_the_metric_says() -> None:
    """More accuracy is better, and less error."""
    assert TASKS["multilabel"].metric.better(0.5, 0.4)
    assert TASKS["regression"].metric.better(0.4, 0.5)
    assert not TASKS["regression"].metric.better(0.5, 0.5)


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("classification", [0.0, 3.0, 0.0, 0.0], "b 87.0%, a 4.3%, c 4.3%, d 4.3%"),
        ("multilabel", [-1.0, 0.0, 2.0], "c 88.1%"),
        ("multilabel", [-1.0, -3.0, -2.0], "no label"),
        ("regression", [1.5, -2.25], "a 1.5, b -2.25"),
        ("segmentation", [[[1, 0]], [[0, 0]], [[0, 2]]], "a 50.0%, c 50.0%"),
    ],
)
def test_answers_in_words(name: str, answer, said: str) -> None:
    """As `mest predict` prints them."""
    task = TASKS[name]
    array = np.array(answer, np.float32)
    names = "abcd"[: len(array)]
    assert task.words(task.answer(array, np.zeros(1), names)) == said
