"""The parts of the demo: the new sensor, its images, and running commands."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mest.demo.commands import CommandFailed, Commands, Interrupted, split_log
from mest.demo.material import DIGITS, make_material, picture
from mest.demo.sensor import Sensor, blurred, turned


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
    material = make_material(tmp_path, Sensor(), 0)
    with np.load(DIGITS) as digits, np.load(material.learn) as learn, np.load(material.test) as held:
        np.testing.assert_array_equal(held["labels"], digits["labels"][digits["test"]])
        assert len(learn["labels"]) + len(held["labels"]) == len(digits["labels"])
        assert learn["images"].dtype == np.uint8
        assert all((sample.new == held["images"]).all(axis=(1, 2)).any() for sample in material.samples)
    assert sorted(sample.label for sample in material.samples) == [str(digit) for digit in range(10)]
    np.testing.assert_array_equal(np.asarray(Image.open(material.samples[0].file)), material.samples[0].new)


def test_a_picture_is_an_enlarged_png() -> None:
    """Every pixel becomes a square, unsmoothed."""
    pixels = np.array([[0, 255], [255, 0]], np.uint8)
    shown = np.asarray(Image.open(io.BytesIO(picture(pixels))))
    np.testing.assert_array_equal(shown, np.kron(pixels, np.ones((32, 32), np.uint8)))


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
    (tmp_path / "refuses.py").write_text("import sys; print('first'); sys.exit('the reason')")
    (tmp_path / "lingers.py").write_text("import time; time.sleep(60)")
    return tmp_path


def test_a_command_answers_with_its_object_and_its_words(modules: Path) -> None:
    """The result is parsed, the words are those a person would type."""
    done = Commands(modules / "logs", never).module("answers", 1)
    assert done.result == {"answer": 42}
    assert done.words == ("python", "-m", "answers", "1")


def test_a_command_that_fails_passes_on_its_reason_and_its_code(modules: Path) -> None:
    """The last line it said and the log that has all of it."""
    with pytest.raises(CommandFailed, match=r"'python -m refuses' failed: the reason \(all it said: .*1_refuses.log"):
        Commands(modules / "logs", never).module("refuses")


def test_a_command_that_a_signal_ended_fails_with_the_shells_code(modules: Path) -> None:
    """Killed is 137, as a shell says it."""
    (modules / "dies.py").write_text("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(CommandFailed, match="ended with code 137") as failed:
        Commands(modules / "logs", never).module("dies")
    assert failed.value.exit_code == 137


def test_a_command_that_ends_while_the_user_stops_is_an_interruption(modules: Path) -> None:
    """Ctrl-C reaches both; whoever is first, it is no failure."""
    with pytest.raises(Interrupted):
        Commands(modules / "logs", lambda: True).module("refuses")


def test_a_stop_ends_the_command_that_runs(modules: Path) -> None:
    """The child does not outlive the demo."""
    with pytest.raises(Interrupted):
        Commands(modules / "logs", lambda: True).module("lingers")
