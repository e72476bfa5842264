"""The C library for apps: the program's own run from the caller's memory, bit for bit, and every fault returned."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from c_library import Callback, Model, Progress, core, settings  # noqa: F401 - a fixture
from compiled_example import Compiled, compiled, mest_run, run  # noqa: F401 - a fixture
from native_artifact import write_artifact, write_images
from native_networks import resnet

from edge.libmest import library
from edge.plan.search import Request

pytestmark = pytest.mark.skipif(not library.available()[0], reason=f"needs the library: {library.available()[1]}")
BATCH, SAMPLES = 8, 29


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Compiled:
    """A plan that has a program for every size of piece, in pieces of 3, and data."""
    folder, network = tmp_path_factory.mktemp("app"), resnet("block", 0.75, blocks=1, width=8, size=8, classes=5)
    artifact, source = (
        write_artifact(folder / "artifact", network),
        write_images(folder / "images.npz", network, SAMPLES),
    )
    return compiled(folder, artifact, source, Request(batch_size=BATCH, micro_batch=3), counted=False, augment="flip")


@pytest.fixture
def opened(core: Path, example: Compiled) -> Iterator[Callable[[], Model]]:  # noqa: F811
    """Opens the plan from its bytes."""
    models: list[Model] = []

    def one() -> Model:
        models.append(Model(core, example.plan.read_bytes()))
        assert models[-1].opened == 0, models[-1].message
        return models[-1]

    yield one
    for model in models:
        model.close()


@pytest.fixture(scope="module")
def arrays(example: Compiled) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, channels, height, width) and labels of the data."""
    with np.load(example.source) as source:
        return source["images"].transpose(0, 3, 1, 2).copy(), source["labels"].astype(np.int32)


def test_a_run_from_memory_is_that_of_the_program(
    mest_run: Path,  # noqa: F811
    example: Compiled,
    opened,
    arrays,
    tmp_path: Path,
) -> None:
    """The same state to the byte, stopped, loaded elsewhere and continued step by step; and the same answers."""
    trained = example.run(mest_run, "train", "--state", tmp_path / "run.state")
    whole = (tmp_path / "run.state").read_bytes()
    first, second = opened(), opened()
    first.must("prepare", 1, ctypes.c_int64(SAMPLES))
    first.must("use_samples", first.samples(*arrays))
    first.must("begin", None)
    seen: list[tuple[int, int]] = []

    @Callback
    def stop_at_five(_: object, progress) -> int:
        seen.append((progress[0].phase, progress[0].step))
        return int(progress[0].step == 5)

    progress = Progress(bytes=ctypes.sizeof(Progress))
    first.must("run", tmp_path / "app.state", stop_at_five, None, ctypes.byref(progress))
    assert (progress.stopped, progress.step, seen[-1]) == (1, 5, (2, 5))
    second.must("use_path", example.data)
    second.must("prepare", 1, ctypes.c_int64(0))
    second.must("load_path", tmp_path / "app.state")
    second.must("continue", None)
    while progress.phase != 4:
        second.must("advance", ctypes.byref(progress))
    assert second.state() == whole
    assert (progress.accuracy_before, progress.accuracy_after) == (
        trained["accuracy_before"],
        trained["accuracy_after"],
    )
    found = example.run(mest_run, "predict", "--state", tmp_path / "run.state", "--top", 5)["predictions"]
    scores = second.predict(arrays[0])
    assert [f"class {row.argmax()}" for row in scores] == [one["class"] for one in found]
    np.testing.assert_array_equal(scores.max(axis=1), np.array([one["score"] for one in found], np.float32))
    correct, count = ctypes.c_int64(), ctypes.c_int64()
    second.must("evaluate", ctypes.byref(correct), ctypes.byref(count))
    accuracy = example.run(mest_run, "eval", "--state", tmp_path / "run.state")["accuracy"]
    assert (correct.value, count.value) == ((scores.argmax(axis=1) == arrays[1]).sum(), SAMPLES)
    assert correct.value / count.value == accuracy


def test_steps_of_any_size_outside_of_a_run(opened, arrays) -> None:
    """A loss falls; a state of them is kept as bytes, taken back, and reset; samples of two dtypes are no pixels."""
    model = opened()
    model.must("prepare", 1, ctypes.c_int64(0))
    blank, images, labels = model.state(), *arrays
    loss, losses = ctypes.c_double(), []
    for count in (8, 1, 2, 3, 4, 5, 7, 8, 8, 8, 8, 8):
        part = model.samples(images[:count], labels[:count])
        model.must("train_step", part, ctypes.c_double(0.05), ctypes.byref(loss), None)
        losses.append(loss.value)
    assert losses[-1] < losses[0] / 2
    kept = model.state()
    assert kept != blank
    model.must("reset")
    assert model.state() == blank
    model.must("load_bytes", kept, ctypes.c_size_t(len(kept)))
    assert model.state() == kept
    name = model.library.libmest_class_name(model.handle, 4)
    assert name == b"class 4"
    assert model.library.libmest_class_name(model.handle, 5) is None
    head = bytearray(kept)
    head[-1] ^= 1
    assert model.call("load_bytes", bytes(head), ctypes.c_size_t(len(head))) == 4
    assert "SHA-256" in model.message
    assert model.state() == kept  # a refusal changes nothing


def test_every_fault_is_returned(core: Path, example: Compiled, opened, arrays, tmp_path: Path) -> None:  # noqa: F811
    """With the exit code of the commands and one line; nothing ends the process."""
    images, labels = arrays
    rate, none = ctypes.c_double(0.1), ctypes.c_int64(0)
    missing = Model(core, tmp_path / "none")
    assert (missing.opened, missing.message) == (
        2,
        f"{tmp_path / 'none'}: No such file or directory; give what 'mest compile' wrote",
    )
    damaged = Model(core, example.plan.read_bytes()[:-1])
    assert (damaged.opened, "truncated" in damaged.message) == (4, True)
    assert damaged.call("prepare", 1, none) == 2
    missing.close()
    damaged.close()
    model = opened()
    refused: list[tuple[int, str, str, tuple]] = [
        (2, "not prepared", "train_step", (model.samples(images[:2], labels[:2]), rate, None, None)),
        (2, "purpose 7", "prepare", (7, none)),
        (4, "is no data file", "use_path", (example.plan,)),
        (0, "", "prepare", (1, ctypes.c_int64(20))),
        (2, "prepared already", "prepare", (1, none)),
        (2, "no samples are in use", "begin", (None,)),
        (2, "holds 29 samples; the model was prepared for 20", "use_path", (example.data,)),
        (2, "label 5", "use_samples", (model.samples(images[:3], [0, 5, 1]),)),
        (2, "have no labels", "use_samples", (model.samples(images[:3]),)),
        (2, "pixels of LIBMEST_UINT8", "predict", (model.samples(images[:3].astype(np.float32)), None)),
        (2, "9; a step takes 1 to 8", "train_step", (model.samples(images[:9], labels[:9]), rate, None, None)),
        (
            2,
            "learning_rate nan",
            "train_step",
            (model.samples(images[:2], labels[:2]), ctypes.c_double(np.nan), None, None),
        ),
        (0, "", "use_samples", (model.samples(images[:20], labels[:20]),)),
        (2, "no state was loaded", "continue", (None,)),
        (2, "no run was begun", "advance", (ctypes.byref(Progress(bytes=ctypes.sizeof(Progress))),)),
        (2, "epochs 0", "begin", (settings(epochs=0),)),
        (0, "", "begin", (settings(epochs=1),)),
        (2, "a run is under way", "train_step", (model.samples(images[:2], labels[:2]), rate, None, None)),
        (2, "room for 10 bytes", "save_bytes", (ctypes.create_string_buffer(10), ctypes.c_size_t(10))),
    ]
    for code, said, name, values in refused:
        found = model.call(name, *values)
        assert (found, said in model.message) == (code, True), (name, found, model.message)
    model.must("reset")
    ruin = (model.samples(images[:8], labels[:8]), ctypes.c_double(1e30), None, None)
    assert 2 in [model.call("train_step", *ruin) for _ in range(3)]
    assert "not finite" in model.message
    assert model.call("save_path", tmp_path / "ruined.state") == 2
    assert not (tmp_path / "ruined.state").exists()
