"""Data sets: what is read, how it is split, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mest.data import DataSpec, open_data, split_validation
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
    [(b"", "dog/3.png: zero bytes"), (b"no image at all", "dog/3.png: not a readable image")],
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


def test_sizes_that_differ_need_an_image_size(folder: Path, monkeypatch) -> None:
    """Without --image-size the odd one out is named, whether images are held in memory or not."""
    Image.new("RGB", (9, 9)).save(folder / "dog" / "1.png")
    for limit in (1 << 30, 0):
        monkeypatch.setattr(folder_module, "IN_MEMORY_BYTES", limit)
        with pytest.raises(InputError, match=r"dog/1.png: 9x9 where others have 6x8.*--image-size"):
            open_data(DataSpec(f"imagefolder:{folder}"))
    assert open_data(DataSpec(f"imagefolder:{folder}", image_size=(5, 6))).train.shape == (3, 5, 6)


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


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": np.zeros(4, int)}, "no array 'images'"),
        ({"images": np.zeros((4, 2, 2)), "labels": np.zeros(4, int)}, "images float64.*expected uint8"),
        ({"images": np.zeros((4, 2, 2), np.uint8), "labels": np.zeros(3, int)}, "one for each of 4"),
        ({"images": np.zeros((4, 2, 2), np.uint8), "labels": np.zeros(4, int)}, "at least 2"),
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
