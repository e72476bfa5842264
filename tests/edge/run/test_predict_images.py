"""What predict and classify take: files, pipes, a camera's arrays, images of any size, and what they refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from finetune_example import NAMES, digits, environment, make_artifact  # noqa: F401 - a fixture
from PIL import Image

import edge
from edge.engines.available import engine_available
from edge.errors import BudgetError, InputError
from edge.handover.artifact import open_artifact
from edge.plan.choices import ENGINES
from edge.run.evaluate import evaluate
from edge.run.predict import predict_files

HERE = [name for name in ENGINES if engine_available(name)[0]]
pytestmark = pytest.mark.skipif(not HERE, reason="needs an engine: neither native nor ort runs here")


def mest(*words, stdin=None, **variables):
    command = [sys.executable, "-m", "mest", *map(os.fspath, words)]
    return subprocess.run(command, input=stdin, capture_output=True, env={**environment(), **variables}, check=False)


@pytest.fixture
def frames(tmp_path):
    """Ten digits as a camera of 40x60 pixels sees them, with their class numbers."""
    images, labels = digits(10)
    found = []
    for number, image in enumerate(images):
        frame = Image.new("RGB", (60, 40))
        frame.paste(Image.fromarray(image).resize((40, 40), Image.Resampling.NEAREST).convert("RGB"), (10, 0))
        frame.save(tmp_path / f"{number}.png")
        found.append(np.asarray(frame))
    return tmp_path, found, labels


def test_images_of_any_size_are_classified(make_artifact, frames):  # noqa: F811
    """An artifact whose manifest says nothing of sizes resizes to its network's input, and says so."""
    folder, arrays, labels = frames
    said = []
    files = [folder / f"{number}.png" for number in range(10)]
    result = predict_files(make_artifact(), files, HERE[0], say=said.append)
    assert "resized to the network's 8x8 (short side, then centre crop)" in said[0]
    found = [prediction.classes[0][0] for prediction in result.predictions]
    assert np.mean([name == NAMES[label] for name, label in zip(found, labels, strict=True)]) >= 0.5
    with edge.load(make_artifact(), engine=HERE[0], largest_image=(40, 60)) as model:
        assert [found.classes for found in model.classify(arrays)] == [found.classes for found in result.predictions]
        assert [found.classes for found in model.classify(files)] == [found.classes for found in result.predictions]
        assert model.classify(np.stack(arrays), top=1)[3].classes == result.predictions[3].classes[:1]
        assert model.classify([]) == []


def test_classify_refuses_what_is_no_image(make_artifact, frames):  # noqa: F811
    """Floats, shapes of several images in one, words; and predict takes no raw pixels."""
    _, arrays, _ = frames
    with edge.load(make_artifact(), engine=HERE[0]) as model:
        for image in (arrays[0] / 255, arrays[0][0, 0], np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4), np.uint8)):
            with pytest.raises(InputError, match=r"needed is uint8 \(h, w\)"):
                model.classify([image])
        with pytest.raises(InputError, match="uint8 arrays or paths"):
            model.classify([3])
        with pytest.raises(InputError, match="raw pixels to classify"):
            model.predict(np.zeros((2, 1, 8, 8), np.uint8))


def test_the_largest_image_is_planned_for(make_artifact):  # noqa: F811
    """A budget that has no room for preparing it is refused before anything is loaded."""
    with edge.load(make_artifact(), engine=HERE[0]) as model:
        small = model.plan.peak_bytes
    with edge.load(make_artifact(), engine=HERE[0], largest_image=(3000, 4000)) as model:
        assert model.plan.peak_bytes - small > 3000 * 4000 * 4
    with pytest.raises(BudgetError):
        edge.load(make_artifact(), small + (20 << 20), HERE[0], largest_image=(3000, 4000))


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_a_frame_comes_through_a_pipe(make_artifact, frames, name):  # noqa: F811
    """The same answer as for the file."""
    folder, _, _ = frames
    content = (folder / "4.png").read_bytes()
    done = mest("predict", make_artifact(), name, folder / "4.png", "--json", "--engine", HERE[0], stdin=content)
    assert done.returncode == 0, done.stderr
    piped, file = json.loads(done.stdout)["predictions"]
    assert (piped["image"], piped["classes"]) == (name, file["classes"])


def test_one_bad_file_costs_no_other_its_answer(make_artifact, frames):  # noqa: F811
    """Each is named on standard error, the others are answered, and it ends with 2; without a good one in one line."""
    folder, _, _ = frames
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:200])
    bad = [folder / "none.png", folder / "cut.png", folder]
    words = ["predict", make_artifact(), "--engine", HERE[0]]
    done = mest(*words, folder / "0.png", *bad, folder / "1.png")
    assert (done.returncode, len(done.stdout.splitlines())) == (2, 2)
    for name, reason in (("none.png", "no such file"), ("cut.png", "not a readable image"), (folder.name, "a folder")):
        assert any(name in line and reason in line for line in done.stderr.decode().splitlines())
    found = json.loads(mest(*words, *bad, folder / "1.png", "--json").stdout)
    assert [each["image"] for each in found["unread"]] == [str(each) for each in bad]
    assert len(found["predictions"]) == found["exit_code"] - 1 == 1
    done = mest(*words, *bad)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"no such file (2 more cannot be read either)" in done.stderr


def test_names_that_the_locale_cannot_write_are_escaped(make_artifact, frames):  # noqa: F811
    """The answer is not lost to a name, be it of another script or of bytes that are no text."""
    folder, _, _ = frames
    names = [folder / "\u4f8b.png", folder / os.fsdecode(b"\xff.png")]
    for name in names:
        name.write_bytes((folder / "0.png").read_bytes())
    done = mest("predict", make_artifact(), *names, folder / "no\u4f8b.png", PYTHONIOENCODING="latin-1:strict")
    assert done.returncode == 2
    assert b"\\u4f8b.png: 0 " in done.stdout
    assert b"\\udcff.png: 0 " in done.stdout
    assert b"no\\u4f8b.png: no such file" in done.stderr


def test_every_image_of_a_folder_is_counted(make_artifact, frames):  # noqa: F811
    """Of any size, those that cannot be read left out if asked, and all of it said."""
    folder, _, labels = frames
    for number, label in enumerate(labels):
        (folder / "set" / NAMES[label]).mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").rename(folder / "set" / NAMES[label] / f"{number}.png")
    said = []
    result = evaluate(make_artifact(), str(folder / "set"), HERE[0], say=said.append)
    assert (result.images, result.samples, result.skipped) == (10, 10, 0)
    assert result.accuracy >= 0.5
    (folder / "set" / NAMES[labels[0]] / "cut.png").write_bytes(b"\x89PNG cut")
    with pytest.raises(InputError, match="unreadable skip"):
        evaluate(make_artifact(), str(folder / "set"), HERE[0])
    result = evaluate(make_artifact(), str(folder / "set"), HERE[0], unreadable="skip", say=said.append)
    assert (result.images, result.skipped) == (10, 1)
    assert "1 images cannot be read and are left out" in said[1]
    shown = mest("eval", make_artifact(), "--data", folder / "set", "--unreadable", "skip", "--engine", HERE[0])
    assert b"images         10, 1 unreadable ones left out" in shown.stdout


def test_pixels_of_the_right_size_need_no_pillow(make_artifact):  # noqa: F811
    """Whether the manifest says no resize or one that changes nothing."""
    preprocess = open_artifact(make_artifact()).preprocess
    assert preprocess.resize == 8
    assert preprocess.takes_pixels(np.zeros((8, 8, 1), np.uint8))
    assert not preprocess.takes_pixels(np.zeros((9, 9, 1), np.uint8))
