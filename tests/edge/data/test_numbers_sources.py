"""Windows and vectors of an npz file on the board: read one by one, and everything else is refused in one line."""

from __future__ import annotations

import numpy as np
import pytest

from edge.data.batches import Batches
from edge.data.npz import NpzInputs, NpzSource
from edge.data.open import open_source
from edge.data.preprocess import Preprocess
from edge.errors import DamagedError, InputError

CLASSES = ("0", "1")
SAID = {"mode": "array", "resize": None, "crop": None, "interpolation": None, "mean": [1.0, 2.0], "std": [2.0, 4.0]}
ARRAY = Preprocess.from_json(SAID)


def npz(folder, compressed=False, **arrays):
    path = folder / "d.npz"
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_windows_are_normalised_by_channel(tmp_path, compressed):
    """By the numbers as they are, not divided by 255, in whatever order they are asked for."""
    inputs = np.arange(24, dtype=np.int16).reshape(4, 2, 3)
    source = open_source(str(npz(tmp_path, compressed, inputs=inputs, labels=[0, 1, 0, 1])), CLASSES, None, ARRAY)
    images, labels = Batches(source, ARRAY, (2, 1, 3), 2).read(np.array([3, 1]))
    source.close()
    wanted = (inputs[[3, 1]].astype(np.float32) - np.array([[1], [2]])) / np.array([[2], [4]])
    np.testing.assert_array_equal(images, wanted[:, :, None].astype(np.float32))
    assert labels.tolist() == [1, 1]


def test_a_vector_is_one_pixel_of_many_channels(tmp_path):
    """And keys tell the files apart by their content."""
    path = npz(tmp_path, inputs=np.float32([[1, 2], [3, 6]]), labels=[0, 1])
    source = NpzSource(path, CLASSES, None, ARRAY)
    images, _ = Batches(source, ARRAY, (2, 1, 1), 2).read(np.array([0, 1]))
    np.testing.assert_array_equal(images.reshape(2, 2), [[0, 0], [1, 1]])
    keys = source.keys()
    source.close()
    changed = NpzSource(npz(tmp_path, inputs=np.float32([[1, 2], [3, 7]]), labels=[0, 1]), CLASSES, None, ARRAY)
    assert set(keys).isdisjoint(changed.keys())
    changed.close()


def test_inputs_alone_need_no_labels(tmp_path):
    """As what is predicted has none."""
    source = NpzInputs(npz(tmp_path, inputs=np.uint8([[[7, 8, 9], [1, 2, 3]]])))
    assert len(source) == 1
    np.testing.assert_array_equal(source.numbers(0), np.uint8([[[7, 1], [8, 2], [9, 3]]]))
    source.close()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((2, 4, 4), np.uint8)}, "has no array 'inputs', but 'images', and the model takes windows"),
        ({"inputs": np.zeros((2, 2, 3))}, r"inputs are float64 \(2, 2, 3\); needed is uint8, int16 or float32"),
        ({"inputs": np.zeros(2, np.float32)}, r"needed is .* \(n, f\), \(n, c, l\) or \(n, c, h, w\)"),
        ({"inputs": np.zeros((2, 0, 3), np.float32)}, "needed is"),
        ({"inputs": np.asfortranarray(np.zeros((2, 2, 3), np.float32))}, "numpy.ascontiguousarray"),
        ({"inputs": np.zeros((3, 2, 3), np.float32)}, "one integer for each of the 3 inputs"),
    ],
)
def test_other_files_are_refused(tmp_path, arrays, message):
    """What is needed is said."""
    with pytest.raises(InputError, match=message):
        NpzSource(npz(tmp_path, **arrays, labels=[0, 1]), CLASSES, None, ARRAY)


def test_what_is_of_images_is_refused(tmp_path):
    """Folders, augmentation, unreadable files, and numbers of another size."""
    path = str(npz(tmp_path, inputs=np.zeros((2, 2, 3), np.float32), labels=[0, 1]))
    with pytest.raises(InputError, match="is a folder, and the model takes windows"):
        open_source(str(tmp_path), CLASSES, None, ARRAY)
    with pytest.raises(InputError, match="skip: is for image files"):
        open_source(path, CLASSES, None, ARRAY, "skip")
    with pytest.raises(InputError, match="'images', but 'inputs', and the model takes images"):
        open_source(path, CLASSES)
    source = open_source(path, CLASSES, None, ARRAY)
    with pytest.raises(InputError, match="flip: is for images"):
        Batches(source, ARRAY, (2, 1, 3), 2, augment="flip")
    with pytest.raises(InputError, match="an input of 2x3 numbers, the model takes 2x4x3"):
        Batches(source, ARRAY, (2, 4, 3), 2).read(np.array([0]))
    source.close()


@pytest.mark.parametrize(
    "changed",
    [{"resize": 8}, {"crop": [1, 1]}, {"mean": []}, {"mean": [1.0]}, {"std": [1.0, 0.0]}, {"mode": "numbers"}],
)
def test_a_manifest_that_does_not_fit_is_damaged(changed):
    """Means and deviations are as many, and an array is not resized."""
    with pytest.raises(DamagedError, match="manifest: preprocess"):
        Preprocess.from_json({**SAID, **changed})
