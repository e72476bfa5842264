"""The parts of the demo: the new sensor, its images, and running commands."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mest.cli.road import picture
from mest.demo import material, wrist
from mest.demo.commands import CommandFailed, Commands, Interrupted, read, split_log
from mest.demo.script import module
from mest.demo.sensor import Sensor, blurred, turned
from mest.demo.walk import least_budget
from mest.errors import DamagedError
from mest.packaged import DATA_SETS


def never() -> bool:
    return False


def test_a_quarter_turn_is_numpys() -> None:
    """Turning by 90° moves every pixel where rot90 does, on a square of odd and even side."""
    for side in (4, 5):
        images = np.arange(2 * side * side, dtype=np.float32).reshape(2, side, side)
        np.testing.assert_allclose(turned(images, 90.0), np.rot90(images, axes=(1, 2)), atol=1e-3)


def test_no_turn_and_no_blur_change_nothing() -> None:
    """The neutral sensor gives back what it sees."""
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8)).astype(np.uint8)
    neutral = Sensor(turn_degrees=0, blur=0, gain=1, offset=0, noise=0)
    np.testing.assert_array_equal(neutral.see(images, 1), images)


def test_blur_spreads_a_point_over_its_four_neighbours() -> None:
    """A point of 8 with a share of one half leaves 4 and gives 1 to each neighbour."""
    point = np.zeros((1, 3, 3), np.float32)
    point[0, 1, 1] = 8
    np.testing.assert_array_equal(blurred(point, 0.5)[0], [[0, 1, 0], [1, 4, 1], [0, 1, 0]])


def test_the_sensor_is_the_same_for_a_seed_and_another_for_another() -> None:
    """Noise is drawn from the seed alone."""
    images = np.full((2, 8, 8), 100, np.uint8)
    np.testing.assert_array_equal(Sensor().see(images, 3), Sensor().see(images, 3))
    assert (Sensor().see(images, 3) != Sensor().see(images, 4)).any()


def test_what_is_learnt_from_and_what_is_tested_on_are_the_fixed_parts(tmp_path: Path) -> None:
    """The test part of the digits is the new sensor's test part, in order, and samples come from it alone."""
    learn, held, *pictures = material.make_material(tmp_path, 0)
    samples = material.drawn(tmp_path, 0)
    with np.load(DATA_SETS["digits"]) as digits, np.load(learn) as new, np.load(held) as test:
        np.testing.assert_array_equal(test["labels"], digits["labels"][digits["test"]])
        assert len(new["labels"]) + len(test["labels"]) == len(digits["labels"])
        assert new["images"].dtype == np.uint8
        assert all((sample.new == test["images"]).all(axis=(1, 2)).any() for sample in samples)
        assert all((sample.old == digits["images"][digits["test"]]).all(axis=(1, 2)).any() for sample in samples)
    assert sorted(sample.label for sample in samples) == [str(digit) for digit in range(10)]
    np.testing.assert_array_equal(np.asarray(Image.open(pictures[0])), samples[0].new)


def test_the_wrists_have_the_same_classes_and_share_no_person_between_training_and_test(tmp_path: Path) -> None:
    """A sample of the left wrist stands beside one of the same exercise on the right, both of the test parts."""
    learn, held, picked = wrist.make_material(tmp_path, 3, samples=9)
    samples = wrist.drawn(tmp_path, 3, samples=9)
    with np.load(DATA_SETS["watch"]) as right, np.load(learn) as new, np.load(held) as test, np.load(picked) as chosen:
        assert new["inputs"].dtype == right["inputs"].dtype == np.int16
        assert new["inputs"].shape[1:] == test["inputs"].shape[1:] == right["inputs"].shape[1:] == (6, 100)
        assert list(new["class_names"]) == list(right["class_names"])
        assert set(right["labels"][right["test"]]) == set(test["labels"]) == set(range(7))
        assert [sample.label for sample in samples] == [str(chosen["class_names"][k]) for k in chosen["labels"]]
        for sample in samples:
            assert (sample.new == test["inputs"]).all(axis=(1, 2)).any()
            beside = (sample.old == right["inputs"]).all(axis=(1, 2))
            assert right["test"][beside].all()
            assert str(right["class_names"][right["labels"][beside][0]]) == sample.label


def test_a_picture_is_an_enlarged_png() -> None:
    """Every pixel becomes a square, unsmoothed, and the page carries it."""
    markup = picture(np.array([[0, 255], [255, 0]], np.uint8), "a chequer")
    data = re.search(r'base64,([^"]+)" alt="a chequer"', markup)
    assert data is not None
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))))
    np.testing.assert_array_equal(shown, np.kron([[0, 255], [255, 0]], np.ones((32, 32), np.uint8)))


def test_a_log_is_told_apart_from_the_imports_in_it() -> None:
    """Import times give the packages, everything else is what was said."""
    log = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:       120 |        340 |   numpy.linalg\n"
        "half way\n"
        "import time:        10 |         10 | edge\n"
    )
    assert split_log(log) == ("half way\n", frozenset({"numpy", "edge"}))


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "answers.py").write_text("print('{\"answer\": 42}')")
    (tmp_path / "refuses.py").write_text("import sys; print('{}'); sys.exit('the reason')")
    (tmp_path / "lingers.py").write_text("import time; time.sleep(60)")
    return tmp_path


def test_a_command_answers_with_its_object_and_its_words(modules: Path) -> None:
    """The result is parsed, the words are those a person would type, and the files are those of the shell's line."""
    done = Commands(modules, never).run(module("answers", "answers", 1))
    assert done.result == {"answer": 42}
    assert done.step.line == "python -m answers 1 > said/answers.json 2> said/answers.log"
    assert read(modules, done.step).result == {"answer": 42}


def test_a_command_that_fails_passes_on_its_reason_and_its_code(modules: Path) -> None:
    """The last line it said and the log that has all of it."""
    with pytest.raises(CommandFailed, match=r"'python -m refuses' failed: the reason \(all it said: .*refuses.log"):
        Commands(modules, never).run(module("refuses", "refuses"))


def test_a_refusal_that_is_asked_for_is_read_and_its_absence_fails(modules: Path) -> None:
    """A step that must end with another code than 0 fails with 0."""
    step = replace(module("refuses", "refuses"), exit_code=1)
    assert Commands(modules, never).run(step).said == "the reason\n"
    with pytest.raises(CommandFailed, match="ended with code 0"):
        Commands(modules, never).run(replace(module("answers", "answers"), exit_code=3))


def test_a_command_that_a_signal_ended_fails_with_the_shells_code(modules: Path) -> None:
    """Killed is 137, as a shell says it."""
    (modules / "dies.py").write_text("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(CommandFailed, match="ended with code 137") as failed:
        Commands(modules, never).run(module("dies", "dies"))
    assert failed.value.exit_code == 137


def test_a_command_that_ends_while_the_user_stops_is_an_interruption(modules: Path) -> None:
    """Ctrl-C reaches both; whoever is first, it is no failure."""
    with pytest.raises(Interrupted):
        Commands(modules, lambda: True).run(module("refuses", "refuses"))


def test_a_stop_ends_the_command_that_runs(modules: Path) -> None:
    """The child does not outlive the demo."""
    with pytest.raises(Interrupted):
        Commands(modules, lambda: True).run(module("lingers", "lingers"))


def test_the_least_budget_is_the_one_that_a_refusal_names() -> None:
    """A refusal that names none is no plan's."""
    assert least_budget({"refused": "needs 3", "smallest_budget_bytes": 41}) == 41
    with pytest.raises(DamagedError, match="names no budget that would do: artifact is missing"):
        least_budget({"refused": "artifact is missing"})
