"""Data on the board: both sources, in any order, without ever being held as a whole."""

from __future__ import annotations

import os
import shutil
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from edge.data.batches import Batches, hold_out
from edge.data.folder import FolderSource
from edge.data.image import read_image
from edge.data.npz import NpzSource
from edge.data.open import open_source
from edge.data.preprocess import Preprocess
from edge.errors import BudgetError, InputError
from edge.run.settings import Settings
from edge.run.training_data import TrainingData
from mest.data.folder import read_parts

NAMES = ("cat", "dog", "owl")
PLAIN = Preprocess("RGB", None, None, "bilinear", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
GREY = Preprocess("L", None, None, "bilinear", (0.5,), (0.25,))


def pixels(count=12, size=(6, 5), bands=3):
    values = (np.arange(count * size[0] * size[1] * bands) * 37) % 251
    return values.reshape(count, *size, bands).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    images = pixels()
    for index, image in enumerate(images):
        place = tmp_path / "set" / NAMES[index % 3]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{index:03}.png")
    return tmp_path / "set"


def read_all(folder):
    source = FolderSource(folder, NAMES)
    return [source.pixels(index, PLAIN) for index in range(len(source.labels))]


def test_a_folder_gives_its_images_and_classes(folder):
    """Sorted by class and name, labels in the artifact's order."""
    source = FolderSource(folder, ("owl", "cat", "dog"))
    assert source.labels.tolist() == [1] * 4 + [2] * 4 + [0] * 4
    assert source.path(0).name == "000.png"
    assert source.path(5).name == "004.png"
    np.testing.assert_array_equal(source.pixels(5, PLAIN), pixels()[4])


def test_a_class_that_the_artifact_lacks_is_named(folder):
    """With the classes that it has."""
    with pytest.raises(InputError, match=r"'owl' is not one of.*cat, dog"):
        FolderSource(folder, ("cat", "dog"))


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_an_unreadable_image_is_named(folder, content):
    """Zero bytes or rubbish: the file's name and what to do."""
    (folder / "dog" / "bad.png").write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.png.*remove or replace"):
        read_all(folder)


def test_an_image_larger_than_the_decoder_planned_is_refused(folder):
    """A bomb is stopped before it is decoded."""
    Image.fromarray(np.zeros((600, 600), np.uint8)).save(folder / "big.png")
    with pytest.raises(BudgetError, match="600x600"):
        read_image(folder / "big.png", PLAIN, decoder_bytes=1000)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("bands", [1, 3])
def test_an_npz_is_read_in_place(tmp_path, save, bands):
    """Stored and compressed give the same pixels in any order."""
    images = pixels(bands=bands)
    save(tmp_path / "d.npz", images=images[..., 0] if bands == 1 else images, labels=np.arange(12) % 3)
    source = NpzSource(tmp_path / "d.npz", NAMES)
    for index in (7, 0, 11):
        np.testing.assert_array_equal(source.pixels(index, GREY if bands == 1 else PLAIN), images[index])
    assert source.labels.tolist() == [0, 1, 2] * 4
    source.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["d.npz"]


def test_class_names_in_an_npz_decide_the_labels(tmp_path):
    """The artifact's order counts, not the file's."""
    np.savez(tmp_path / "d.npz", images=pixels(3), labels=[0, 1, 2], class_names=["owl", "cat", "dog"])
    assert NpzSource(tmp_path / "d.npz", NAMES).labels.tolist() == [2, 0, 1]


def test_an_npz_says_which_images_are_for_testing(tmp_path):
    """As the workstation reads the same file."""
    np.savez(tmp_path / "d.npz", images=pixels(3), labels=[0, 1, 2], test=[True, False, True])
    assert NpzSource(tmp_path / "d.npz", NAMES).test_indices.tolist() == [0, 2]


def test_no_sample_marked_as_test_is_trained_on(tmp_path):
    """They are the held-out part, or stay out where other data are given, of which the marked ones count alone."""
    np.savez(tmp_path / "d.npz", images=pixels(5), labels=[0, 1, 2, 1, 0], test=[True, False, False, True, False])
    source, plain = NpzSource(tmp_path / "d.npz", NAMES), tmp_path / "plain.npz"
    np.savez(plain, images=pixels(5), labels=[0, 1, 2, 1, 0])
    data = TrainingData.of(source, None, Settings(hold_out=0.5))
    assert (data.split.train.tolist(), data.split.held_out.tolist()) == ([1, 2, 4], [0, 3])
    assert TrainingData.of(source, NpzSource(tmp_path / "d.npz", NAMES), Settings()).split.held_out.tolist() == [5, 8]
    other = TrainingData.of(NpzSource(plain, NAMES), source, Settings())
    assert (other.split.train.tolist(), other.split.held_out.tolist()) == ([0, 1, 2, 3, 4], [5, 8])
    assert other.fingerprint != data.fingerprint
    np.savez(tmp_path / "one.npz", images=pixels(3), labels=[0, 1, 1], test=[True, False, False])
    with pytest.raises(InputError, match="one class"):
        TrainingData.of(NpzSource(tmp_path / "one.npz", NAMES), None, Settings())


def test_a_test_folder_beside_train_is_never_trained_on(folder):
    """As on the workstation: what lies in test/ is held out; parts without train/ are no classes."""
    (folder.parent / "root").mkdir()
    folder.rename(folder.parent / "root" / "train")
    root = folder.parent / "root"
    shutil.copytree(root / "train" / "cat", root / "valid" / "cat")
    source = FolderSource(root, NAMES)
    assert (len(source.labels), source.test_indices.tolist()) == (16, [12, 13, 14, 15])
    assert source.path(12) == root / "valid" / "cat" / "000.png"
    assert TrainingData.of(source, None, Settings()).split.train.tolist() == list(range(12))
    (root / "train").rename(root / "test")
    with pytest.raises(InputError, match=r"holds test and valid, not classes; give .*valid"):
        open_source(str(root), NAMES)


def test_what_is_left_out_of_a_folder_is_said(folder):
    """Counted by kind, in the words of the workstation."""
    (folder / "cat" / "deeper").mkdir()
    for name in ("cat/1.heic", "cat/2.HEIC", "cat/._0.png", "dog/notes", "labels.csv"):
        (folder / name).touch()
    (note,) = FolderSource(folder, NAMES).notes
    assert note == "; ".join(read_parts(folder).notes)
    assert "5 files that are not read as images (1 .csv beside the classes, 2 .heic, 1 hidden" in note


def test_a_damaged_image_is_skipped_if_asked(folder):
    """A cut file, whose header is whole, is met before the run begins, and counted."""
    bad = folder / "dog" / "004.png"
    bad.write_bytes(bad.read_bytes()[:-45])
    FolderSource(folder, NAMES)
    with pytest.raises(InputError, match=r"004\.png: not a readable image.*with unreadable skip"):
        FolderSource(folder, NAMES, PLAIN, decode_all=True)
    source = FolderSource(folder, NAMES, PLAIN, "skip")
    assert (len(source.labels), source.skipped, source.labels.tolist()) == (11, 1, [0] * 4 + [1] * 3 + [2] * 4)
    assert "004.png" in source.notes[0]
    np.testing.assert_array_equal(source.pixels(5, PLAIN), pixels()[7])
    for file in (folder / "dog").iterdir():
        file.write_bytes(b"")
    with pytest.raises(InputError, match="dog: none of its images can be read"):
        FolderSource(folder, NAMES, PLAIN, "skip")


def test_a_class_is_the_same_in_another_unicode_form(folder):
    """Whichever side wrote the accent by itself; bytes that are no UTF-8 are compared as the workstation names them."""
    (folder / "cat").rename(folder / "cafe\u0301")
    (folder / "dog").rename(folder / os.fsdecode(b"d\xffg"))
    for name in ("caf\u00e9", "cafe\u0301"):
        assert set(FolderSource(folder, (name, "d\\xffg", "owl")).labels.tolist()) == {0, 1, 2}


def test_labels_without_names_mean_what_training_called_them(tmp_path):
    """A class called "3" is the label 3; where classes have other names, a label is the number of one."""
    np.savez(tmp_path / "d.npz", images=pixels(3), labels=np.array([3, 1, 3], np.uint8))
    assert NpzSource(tmp_path / "d.npz", ("1", "3", "5")).labels.tolist() == [1, 0, 1]
    with pytest.raises(InputError, match="label 3; allowed are 0 to 2"):
        NpzSource(tmp_path / "d.npz", NAMES)
    np.savez(tmp_path / "b.npz", images=pixels(2), labels=[0, 1], class_names=np.array([b"owl", b"cat"]))
    assert NpzSource(tmp_path / "b.npz", NAMES).labels.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": pixels(3)}, "'labels'"),
        ({"images": pixels(3), "labels": [0, 1, 2], "test": [True, False]}, "test bool"),
        ({"images": pixels(3).astype(np.float32), "labels": [0, 1, 2]}, "uint8"),
        ({"images": pixels(3), "labels": [0, 1]}, "one integer for each"),
        ({"images": np.asfortranarray(pixels(3)), "labels": [0, 1, 2]}, "Fortran order"),
        ({"images": pixels(3), "labels": [0, 1, 3]}, "label 3; allowed are 0 to 2"),
        ({"images": pixels(3), "labels": [0, 1, -1]}, "label -1"),
        ({"images": pixels(3), "labels": [0.0, 1.0, 2.0]}, "integer"),
    ],
)
def test_an_npz_of_another_form_is_refused(tmp_path, arrays, message):
    """What is wrong and what is needed."""
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(InputError, match=message):
        NpzSource(tmp_path / "d.npz", NAMES)


def test_a_cut_npz_is_refused(tmp_path):
    """Not a traceback of the zip reader."""
    np.savez(tmp_path / "d.npz", images=pixels(3), labels=[0, 1, 2])
    content = (tmp_path / "d.npz").read_bytes()
    (tmp_path / "d.npz").write_bytes(content[:300])
    with pytest.raises(InputError, match="not a readable npz"):
        NpzSource(tmp_path / "d.npz", NAMES)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_set_larger_than_the_buffers_is_streamed(tmp_path, save):
    """Opening and reading 24 MB of images takes less than 2 MB of Python's memory."""
    save(tmp_path / "d.npz", images=np.zeros((2000, 64, 64, 3), np.uint8), labels=np.arange(2000) % 3)
    tracemalloc.start()
    source = open_source(str(tmp_path / "d.npz"), NAMES)
    for index in range(0, 2000, 100):
        source.pixels(index, PLAIN)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    source.close()
    assert peak < 2 << 20


def test_normalising_is_the_manifests_arithmetic(folder):
    """By hand, in float32 and in this order: scale, subtract, divide."""
    batches = Batches(FolderSource(folder, NAMES), PLAIN, (3, 6, 5), 4)
    images, labels = batches.read(np.array([0, 5], np.int32))
    expected = pixels()[4].transpose(2, 0, 1).astype(np.float32) * np.float32(1 / 255)
    expected = (expected - np.float32(0.5)) / np.float32(0.25)
    np.testing.assert_array_equal(images[1], expected)
    assert labels.tolist() == [0, 1]


def test_the_order_follows_from_seed_and_epoch(folder):
    """The same again for the same, another for another, and always each sample once."""
    source = FolderSource(folder, NAMES)
    samples = np.arange(12, dtype=np.int32)
    first, again = (Batches(source, PLAIN, (3, 6, 5), 4, seed=3).order(samples, 2) for _ in range(2))
    other = Batches(source, PLAIN, (3, 6, 5), 4, seed=3).order(samples, 3)
    assert first.tolist() == again.tolist() != other.tolist()
    assert sorted(first.tolist()) == samples.tolist()


def test_augmentation_is_a_function_of_the_epoch(folder):
    """An image is shifted and mirrored alike whenever an epoch is repeated; evaluation never is."""
    source = FolderSource(folder, NAMES)
    batches = Batches(source, PLAIN, (3, 6, 5), 12, seed=1, augment="crop-flip")
    samples = np.arange(12, dtype=np.int32)
    once = batches.read(samples, epoch=4)[0].copy()
    np.testing.assert_array_equal(batches.read(samples, epoch=4)[0], once)
    assert (batches.read(samples, epoch=5)[0] != once).any()
    np.testing.assert_array_equal(batches.read(samples)[0], Batches(source, PLAIN, (3, 6, 5), 12).read(samples)[0])


def test_a_flip_mirrors_and_a_crop_shifts(folder):
    """Every augmented image is the source's under one of the allowed shifts, mirrored or not."""
    source = FolderSource(folder, NAMES)
    batches = Batches(source, GREY, (1, 6, 5), 1, augment="crop-flip")
    plain = source.pixels(3, GREY)
    padded = np.pad(plain, ((4, 4), (4, 4), (0, 0)))
    allowed = [padded[t : t + 6, x : x + 5] for t in range(9) for x in range(9)]
    allowed += [image[:, ::-1] for image in allowed]
    seen = set()
    for key in range(1, 40):
        image = batches._augmented(plain, key * 0x9E3779B97F4A7C15 % (1 << 64))
        matches = [i for i, candidate in enumerate(allowed) if np.array_equal(candidate, image)]
        assert matches
        seen.add(matches[0])
    assert len(seen) > 10


def test_a_wrong_size_says_both(folder):
    """The network's size and the image's."""
    with pytest.raises(InputError, match=r"6x5.*8x8"):
        Batches(FolderSource(folder, NAMES), PLAIN, (3, 8, 8), 4).read(np.array([0], np.int32))


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5])
def test_the_held_out_part_has_every_class(fraction):
    """No overlap, nothing lost, each class in both parts."""
    labels = np.repeat(np.arange(3, dtype=np.int32), (20, 2, 8))
    split = hold_out(labels, fraction, seed=5)
    assert sorted([*split.train, *split.held_out]) == list(range(30))
    if fraction:
        assert set(labels[split.held_out]) == set(labels[split.train]) == {0, 1, 2}
    else:
        assert len(split.held_out) == 0


@pytest.mark.parametrize("where", ["nowhere", "npz:nowhere.npz"])
def test_data_that_is_not_there_says_what_to_give(where):
    """One line, with the setting's name."""
    with pytest.raises(InputError, match=r"^data "):
        open_source(where, NAMES)
