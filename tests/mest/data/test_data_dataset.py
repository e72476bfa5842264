"""Data sets: what is read, how it is split, and what is refused."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mest.data import DataSpec, Preprocess, open_data, split_validation
from mest.data import folder as folder_module
from mest.data.dataset import data_name
from mest.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of five 6x8 colour images, each of its own colour."""
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for number in range(5):
            Image.new("RGB", (8, 6), (40 * number, 100 * label, 7)).save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_digits_are_the_packaged_set_with_a_fixed_split() -> None:
    """1,797 images of 8x8, every fifth for the test, ten classes, the licence beside them."""
    data = open_data(DataSpec("digits"))
    assert (len(data.train), len(data.test), data.train.shape, len(data.class_names)) == (1438, 359, (1, 8, 8), 10)
    assert not data.augment.flip
    licence = Path(folder_module.__file__).with_name("digits.txt").read_text()
    assert "CC BY 4.0" in licence
    assert data.train.array.max() == 255


def test_every_fifth_image_of_a_folder_is_the_test_set(folder: Path) -> None:
    """Without train/ and test/ each class gives its fifth, tenth, ... image."""
    data = open_data(DataSpec(f"imagefolder:{folder}"))
    assert data.class_names == ("cat", "dog")
    assert (len(data.train), data.train.labels.tolist()) == (8, [0] * 4 + [1] * 4)
    assert data.test.array[:, 0, 0].tolist() == [[160, 0, 7], [160, 100, 7]]
    assert data.train.shape == (3, 6, 8)
    assert data_name(str(folder)) == f"imagefolder:{folder}"  # as the board takes it
    assert [data_name(name) for name in ("digits", "a.npz", "nothing")] == ["digits", "npz:a.npz", "nothing"]


def test_train_and_test_folders_are_taken_as_they_are(folder: Path, tmp_path_factory) -> None:
    """With train/ and val/ nothing is split; classes must be the same in both."""
    root = tmp_path_factory.mktemp("split")
    (root / "train").symlink_to(folder)
    (root / "val").symlink_to(folder)
    data = open_data(DataSpec(f"imagefolder:{root}"))
    assert (len(data.train), len(data.test)) == (10, 10)
    other = tmp_path_factory.mktemp("other")
    for name in ("cat", "cow"):
        (other / name).mkdir()
        Image.new("RGB", (8, 6)).save(other / name / "0.png")
    (root / "test").symlink_to(other)
    with pytest.raises(InputError, match=r"classes differ.*cow, dog"):
        open_data(DataSpec(f"imagefolder:{root}"))


@pytest.mark.parametrize("side", [16, 200])
def test_the_checksum_tells_images_of_equal_names_and_sizes_apart(tmp_path: Path, side: int) -> None:
    """Uncompressed files of one size differ by their bytes alone, small ones and those read in pieces."""
    generator = np.random.default_rng(0)
    found = []
    for name in ("a", "b", "c"):
        for part in ("train", "test"):
            for label in ("cat", "dog"):
                place = tmp_path / name / part / label
                place.mkdir(parents=True)
                pixels = generator.integers(0, 9, (side, side, 3)) * (name != "a")
                Image.fromarray(pixels.astype(np.uint8)).save(place / "0.bmp")
        found.append(open_data(DataSpec(f"imagefolder:{tmp_path / name}")).checksum)
    assert len(set(found)) == 3
    (tmp_path / "a").rename(tmp_path / "moved")
    assert open_data(DataSpec(f"imagefolder:{tmp_path / 'moved'}")).checksum == found[0]


def test_images_that_do_not_fit_in_memory_are_read_from_disk_alike(folder: Path, monkeypatch) -> None:
    """The same pixels, labels, normalisation and checksum either way."""
    memory = open_data(DataSpec(f"imagefolder:{folder}", image_size=4), threads=2)
    monkeypatch.setattr(folder_module, "IN_MEMORY_BYTES", 0)
    disk = open_data(DataSpec(f"imagefolder:{folder}", image_size=4))
    every = np.arange(len(memory.train))
    assert np.array_equal(memory.train.pixels(every), disk.train.pixels(every))
    assert (memory.preprocess, memory.checksum) == (disk.preprocess, disk.checksum)
    assert memory.train.shape == disk.train.shape == (3, 4, 4)


def test_one_class_is_refused(tmp_path: Path) -> None:
    """A folder with a single class cannot be learned from."""
    (tmp_path / "cat").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "cat" / "0.png")
    with pytest.raises(InputError, match=r"1 class folder.*at least 2"):
        open_data(DataSpec(f"imagefolder:{tmp_path}"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"dog/3.png: not a readable image \(the file is empty"),
        (b"no image at all", "dog/3.png: not a readable image"),
    ],
)
def test_unreadable_images_are_named(folder: Path, content: bytes, message: str) -> None:
    """The refusal is one line with the file's name."""
    (folder / "dog" / "3.png").write_bytes(content)
    with pytest.raises(InputError, match=message) as refused:
        open_data(DataSpec(f"imagefolder:{folder}"))
    assert "\n" not in str(refused.value)


def test_a_truncated_image_is_named(folder: Path) -> None:
    """A header alone does not pass."""
    file = folder / "cat" / "1.png"
    file.write_bytes(file.read_bytes()[:-25])
    with pytest.raises(InputError, match=r"cat/1.png: not a readable image"):
        open_data(DataSpec(f"imagefolder:{folder}"))


def test_mixed_sizes_are_resized_to_a_stated_one(folder: Path, monkeypatch) -> None:
    """The model's usual size and a note that says so, whether images are held in memory or not; one size is kept."""
    own = open_data(DataSpec(f"imagefolder:{folder}"))
    assert (own.train.shape, own.preprocess.resize, own.notes) == ((3, 6, 8), (6, 8), ())
    Image.new("RGB", (9, 9)).save(folder / "dog" / "1.png")
    for limit in (1 << 30, 0):
        monkeypatch.setattr(folder_module, "IN_MEMORY_BYTES", limit)
        data = open_data(DataSpec(f"imagefolder:{folder}"), usual_size=16)
        assert (data.train.shape, data.preprocess.resize, data.preprocess.crop) == ((3, 16, 16), 16, (16, 16))
        assert re.search("2 sizes from 6x8 to 9x9 are resized to 16x16.*--image-size", data.notes[0])
        assert data.train.pixels(np.arange(8)).shape == (8, 16, 16, 3)
    assert open_data(DataSpec(f"imagefolder:{folder}", image_size=(5, 6))).train.shape == (3, 5, 6)


def test_a_run_that_goes_on_is_prepared_as_it_was(folder: Path) -> None:
    """Neither size nor mode nor normalisation is chosen anew for the run's own preprocessing, be it an older one."""
    old = Preprocess("L", (0.3,), (0.2,))
    data = open_data(DataSpec(f"imagefolder:{folder}"), like=old.leading_to(4, 4))
    assert data.preprocess == Preprocess("L", (0.3,), (0.2,), 4, (4, 4))
    assert data.train.shape == (1, 4, 4)


def test_large_photos_of_one_size_are_not_kept_as_large(tmp_path: Path) -> None:
    """A camera's pictures all have one size, which no network is meant for."""
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(5):
            Image.new("RGB", (400, 300)).save(tmp_path / name / f"{number}.jpg")
    data = open_data(DataSpec(f"imagefolder:{tmp_path}"), usual_size=32)
    assert data.train.shape == (3, 32, 32)
    assert "300x400 pixels are resized to 32x32" in data.notes[0]


def test_images_are_grey_only_if_all_are(folder: Path) -> None:
    """The first one, saved as grey, decides nothing for the others."""
    Image.new("L", (8, 6), 77).save(folder / "cat" / "0.png")
    assert open_data(DataSpec(f"imagefolder:{folder}")).train.shape == (3, 6, 8)
    for file in folder.rglob("*.png"):
        Image.new("LA" if file.stem == "1" else "I;16", (8, 6)).save(file)
    assert open_data(DataSpec(f"imagefolder:{folder}")).train.shape == (1, 6, 8)


def test_what_is_left_out_of_a_folder_is_counted(folder: Path) -> None:
    """Files of other kinds, hidden ones, and folders inside a class."""
    (folder / "cat" / "deeper").mkdir()
    for name in ("cat/1.heic", "cat/2.HEIC", "cat/._0.png", "dog/notes", "labels.csv"):
        (folder / name).touch()
    (note,) = open_data(DataSpec(f"imagefolder:{folder}")).notes
    assert "5 files" in note
    assert "(1 .csv beside the classes, 2 .heic, 1 hidden, 1 without suffix)" in note
    assert "1 folders where files are expected" in note


def test_unreadable_images_are_skipped_if_asked(folder: Path) -> None:
    """Named, counted and left out; a class of which nothing is left is refused."""
    whole = (folder / "dog" / "3.png").read_bytes()
    (folder / "dog" / "3.png").write_bytes(whole[:-25])
    spec = DataSpec(f"imagefolder:{folder}", unreadable="skip")
    data = open_data(spec)
    assert (len(data.train) + len(data.test), data.skipped) == (9, 1)
    assert re.search("1 images cannot be read and are left out, the first is .*dog/3.png", data.notes[0])
    for file in (folder / "dog").iterdir():
        file.write_bytes(b"")
    with pytest.raises(InputError, match="dog: none of its images can be read"):
        open_data(spec)


@pytest.mark.parametrize("name", ["val", "valid", "validation", "test"])
def test_any_usual_name_of_the_test_part_is_taken(folder: Path, tmp_path_factory, name: str) -> None:
    """And where test/ and valid/ are both there, the latter chooses the best checkpoint."""
    root = tmp_path_factory.mktemp("parts")
    for part in ("train", name):
        shutil.copytree(folder, root / part)
    data = open_data(DataSpec(f"imagefolder:{root}"))
    assert (len(data.train), len(data.test), data.validation) == (10, 10, None)
    if name == "test":
        shutil.copytree(folder, root / "valid")
        data = open_data(DataSpec(f"imagefolder:{root}"))
        assert (len(data.train), len(data.test), data.validation.tolist()) == (20, 10, list(range(10, 20)))
        assert data.train.labels.tolist() == [0] * 5 + [1] * 5 + [0] * 5 + [1] * 5


def test_a_class_may_be_called_train(folder: Path) -> None:
    """A folder of that name which holds images is no part of the data."""
    (folder / "dog").rename(folder / "train")
    assert open_data(DataSpec(f"imagefolder:{folder}")).class_names == ("cat", "train")


def test_a_class_is_the_same_in_another_unicode_form(folder: Path, tmp_path_factory) -> None:
    """As after a copy from a system that writes the accent by itself; bytes that are no UTF-8 are escaped."""
    root = tmp_path_factory.mktemp("forms")
    shutil.copytree(folder, root / "train")
    shutil.copytree(folder, root / "test")
    (root / "train" / "cat").rename(root / "train" / "caf\u00e9")
    (root / "test" / "cat").rename(root / "test" / "cafe\u0301")
    data = open_data(DataSpec(f"imagefolder:{root}"))
    assert (data.class_names, data.test.labels.tolist()) == (("caf\u00e9", "dog"), [0] * 5 + [1] * 5)
    for part in ("train", "test"):
        (root / part / "dog").rename(root / part / os.fsdecode(b"d\xffg"))
    data = open_data(DataSpec(f"imagefolder:{root}"))
    assert data.class_names == ("caf\u00e9", "d\\xffg")
    assert len(data.checksum) == 64
    (root / "train" / "cafe\u0301").mkdir()
    with pytest.raises(InputError, match="in another Unicode form"):
        open_data(DataSpec(f"imagefolder:{root}"))


def test_npz_with_its_own_test_marks_and_names(tmp_path: Path) -> None:
    """`test` marks the test images, `class_names` name the classes; without them a fifth and numbers do."""
    images = np.arange(10 * 12, dtype=np.uint8).reshape(10, 3, 4)
    labels = np.array([0, 1] * 5, np.int16)
    test = np.arange(10) < 3
    np.savez(tmp_path / "a.npz", images=images, labels=labels, test=test, class_names=np.array(["x", "y"]))
    data = open_data(DataSpec(f"npz:{tmp_path / 'a.npz'}"))
    assert (len(data.train), len(data.test), data.class_names, data.train.shape) == (7, 3, ("x", "y"), (1, 3, 4))
    np.savez(tmp_path / "b.npz", images=images[..., None].repeat(3, 3), labels=labels)
    data = open_data(DataSpec(f"npz:{tmp_path / 'b.npz'}", image_size=2))
    assert (len(data.test), data.class_names, data.train.shape) == (2, ("0", "1"), (3, 2, 2))


def test_classes_of_an_npz_are_those_that_it_has(tmp_path: Path) -> None:
    """Labels from 1 or with gaps call the classes and make no others; names may be bytes; an empty class is said."""
    images = np.zeros((20, 2, 2), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(20) % 3 * 2 + 1)
    data = open_data(DataSpec(f"npz:{tmp_path / 'a.npz'}"))
    assert (data.class_names, set(data.train.labels)) == (("1", "3", "5"), {0, 1, 2})
    assert "called by their labels, 1, 3, 5" in data.notes[0]
    np.savez(
        tmp_path / "b.npz", images=images, labels=np.arange(20) % 2, class_names=np.array([b"air", b"cat", b"dog"])
    )
    data = open_data(DataSpec(f"npz:{tmp_path / 'b.npz'}"))
    assert data.class_names == ("air", "cat", "dog")
    assert "no image of the class dog" in data.notes[0]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": np.zeros(4, int)}, "no array 'images'"),
        ({"images": np.zeros((4, 2, 2)), "labels": np.zeros(4, int)}, "images float64.*expected uint8"),
        ({"images": np.zeros((4, 2, 2), np.uint8), "labels": np.zeros(3, int)}, "one for each of 4"),
        ({"images": np.zeros((4, 2, 2), np.uint8), "labels": np.zeros(4, int)}, "at least 2"),
        (
            {"images": np.zeros((2, 2, 2), np.uint8), "labels": np.array([1, 2]), "class_names": ["a", "b"]},
            "label 2; the 2 class_names allow 0 to 1",
        ),
        (
            {"images": np.zeros((2, 2, 2), np.uint8), "labels": np.array([0, 1]), "class_names": ["a", "a"]},
            "one class twice",
        ),
    ],
)
def test_npz_of_another_form_is_refused(tmp_path: Path, arrays, message: str) -> None:
    """The refusal names the array and what it should be."""
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=message):
        open_data(DataSpec(f"npz:{tmp_path / 'a.npz'}"))


def test_missing_and_unknown_data_are_refused(tmp_path: Path) -> None:
    """Nothing is downloaded or guessed."""
    (tmp_path / "bad.npz").write_bytes(b"PK not a zip")
    for name, message in (
        ("cifar11", "did you mean cifar10"),
        ("imagefolder", "did you mean imagefolder"),
        (f"imagefolder:{tmp_path}/none", "no such folder"),
        (f"npz:{tmp_path}/none.npz", "no such file"),
        (f"npz:{tmp_path}/bad.npz", "not a readable npz"),
    ):
        with pytest.raises(InputError, match=message):
            open_data(DataSpec(name))


def test_torchvision_data_are_not_downloaded_unasked(tmp_path: Path) -> None:
    """Without --download absent data are refused with the two ways out."""
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    with pytest.raises(InputError, match="--data-dir, or add --download"):
        open_data(DataSpec("cifar10", folder=tmp_path))


def test_an_altered_file_of_torchvision_is_named(tmp_path: Path) -> None:
    """Not "not found": the file is there, its checksum is another."""
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"altered")
    with pytest.raises(InputError, match=r"data_batch_1 is not the published file \(its MD5 differs\)"):
        open_data(DataSpec("cifar10", folder=tmp_path))


def test_torchvision_data_come_as_arrays(monkeypatch, tmp_path: Path) -> None:
    """Colour arrays with lists of labels and grey tensors alike; the published normalisation where there is one."""
    datasets = pytest.importorskip("torchvision.datasets", reason="torchvision is not installed")

    class Colour:
        classes = ("a", "b")

        def __init__(self, root: str, train: bool, download: bool) -> None:
            count = 6 if train else 4
            self.data = np.full((count, 32, 32, 3), 9, np.uint8)
            self.targets = [0, 1] * (count // 2)

    class Grey(Colour):
        def __init__(self, root: str, train: bool, download: bool) -> None:
            super().__init__(root, train, download)
            self.data = torch.from_numpy(self.data[:, :28, :28, 0].copy())

    monkeypatch.setattr(datasets, "CIFAR10", Colour)
    monkeypatch.setattr(datasets, "FashionMNIST", Grey)
    colour, grey = (open_data(DataSpec(name, folder=tmp_path)) for name in ("cifar10", "fashion_mnist"))
    assert (colour.train.shape, len(colour.train), len(colour.test)) == ((3, 32, 32), 6, 4)
    assert colour.preprocess.mean == (0.4914, 0.4822, 0.4465)
    assert (colour.augment.padding, colour.augment.flip) == (4, True)
    assert (grey.train.shape, grey.preprocess.mode, grey.class_names) == ((1, 28, 28), "L", ("a", "b"))


def test_validation_takes_the_same_part_of_each_class() -> None:
    """A tenth of each class, chosen by the seed alone, and training keeps the rest."""
    labels = np.repeat(np.arange(3), [50, 20, 1])
    training, validation = split_validation(labels, 0.1, seed=3)
    assert np.bincount(labels[validation], minlength=3).tolist() == [5, 2, 0]
    assert sorted([*training, *validation]) == list(range(71))
    assert np.array_equal(split_validation(labels, 0.1, 3)[1], validation)
    assert not np.array_equal(split_validation(labels, 0.1, 4)[1], validation)
    assert len(split_validation(labels, 0.0, 3)[1]) == 0
