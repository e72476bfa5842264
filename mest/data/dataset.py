"""Which data: from `--data` to training images, test images and what goes with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mest.data.arrays import IMAGES, INPUTS, read_npz, read_torchvision, resized
from mest.data.augment import Augment
from mest.data.folder import normalised, only_readable, opened, read_parts, split_fifth
from mest.data.images import Images, ImagesInMemory, NumbersInMemory
from mest.data.preprocess import ARRAY, Preprocess, measured, measured_numbers, size_of
from mest.data.survey import survey
from mest.data.unsorted import fifth, names_of, read_unsorted, with_targets
from mest.errors import InputError
from mest.packaged import DATA_SETS, OF_NUMBERS
from mest.tasks.registry import CLASSIFICATION
from mest.tasks.task import Task

TORCHVISION = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "fashion_mnist": "FashionMNIST"}
# The constants that the published code normalises with.
NORMALISATION = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}
MOST_OWN_SIDE = 256  # larger images of one size are photos, which networks take smaller
MEASURED_IMAGES = 10_000
ALLOWED = f"{', '.join(DATA_SETS)}, cifar10, cifar100, fashion_mnist, imagefolder:DIR or npz:FILE"


@dataclass(frozen=True)
class DataSpec:
    """What the user said about the data. `image_size`: a side in pixels (centre crop) or an exact (height, width).

    `unreadable`: "refuse" or "skip", what becomes of image files that cannot be read. `task`: what their labels are.
    """

    name: str
    folder: Path = Path("data")
    download: bool = False
    image_size: int | tuple[int, int] | None = None
    augment: str = "auto"
    unreadable: str = "refuse"
    task: Task = CLASSIFICATION


@dataclass(frozen=True)
class DataSet:
    """Training and test images, their classes and preprocessing. Indices always mean `train` as a whole.

    `validation` are the indices of images that the data keep for validation, None where they do not say. `notes` are
    what a person should know; `skipped` image files could not be read.
    """

    name: str
    train: Images
    test: Images
    class_names: tuple[str, ...]
    preprocess: Preprocess
    augment: Augment
    validation: npt.NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()
    skipped: int = 0

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the training images and labels, by which a ranking knows its data."""
        return self.train.checksum()


def data_name(given: str) -> str:
    """The name of a data set as DataSpec takes it: the path of a folder or an npz file gets its kind before it.

    Names of data sets come first, whatever folders there are.
    """
    if given.partition(":")[0] in (*DATA_SETS, "imagefolder", "npz", *TORCHVISION):
        return given
    return f"imagefolder:{given}" if Path(given).is_dir() else f"npz:{given}" if given.endswith(".npz") else given


def open_data(spec: DataSpec, threads: int = 1, usual_size: int = 224, like: Preprocess | None = None) -> DataSet:
    """Return the data set that `spec` names; raises InputError in one line for anything that is not right with it.

    Without an image size in `spec`, images of one size of up to `MOST_OWN_SIDE` pixels keep it, and others are resized
    to `usual_size`. `like` is the preprocessing of a run that these data continue: nothing is chosen or measured anew.
    """
    kind, _, rest = spec.name.partition(":")
    if like is not None and not like.takes_images:
        refuse_for_numbers(spec)
    refuse_for_task(spec)
    if kind == "imagefolder" and rest:
        return _from_folder(spec, Path(rest), threads, usual_size, like)
    arrays = read_arrays(spec, None if like is None else IMAGES if like.takes_images else INPUTS)
    if isinstance(arrays[0], NumbersInMemory):
        refuse_for_numbers(spec)
        return _of_numbers(spec, *arrays, like)
    return _from_arrays(spec, arrays, usual_size, like)


def read_arrays(spec: DataSpec, wanted: str | None = None) -> tuple[Images, Images, tuple[str, ...], tuple[str, ...]]:
    """Return training and test images, class names and notes of a set that comes as arrays; raises InputError.

    `wanted`: the array of an npz file, as `load_npz` has it.
    """
    kind, _, rest = spec.name.partition(":")
    if kind == "npz" and rest:
        return read_npz(Path(rest), wanted, spec.task)
    if spec.name in DATA_SETS:
        return read_npz(DATA_SETS[spec.name], wanted, spec.task)
    if spec.name in TORCHVISION:
        train, test, names = read_torchvision(TORCHVISION[spec.name], spec.folder, spec.download)
        if spec.task.of_classes:
            return train, test, names, ()
        unlabelled = [replace(part, labels=np.zeros((len(part), 0), np.uint8)) for part in (train, test)]
        return unlabelled[0], unlabelled[1], tuple(map(str, range(train.shape[0]))), ()
    near = get_close_matches(kind, [*DATA_SETS, *TORCHVISION, "imagefolder", "npz"], 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise InputError(f"--data {spec.name}: no such data set; {hint}Allowed are {ALLOWED}")


def refuse_for_task(spec: DataSpec) -> None:
    """Raise InputError for data that hold classes alone, where the task needs other targets."""
    kind, task = spec.name.partition(":")[0], spec.task
    if kind == "npz" or task.array in (None, CLASSIFICATION.array if task.of_classes else None):
        return
    if kind == "imagefolder" and task.masks_images:
        return
    also = ", or imagefolder:DIR with images/ and masks/" if task.masks_images else ""
    raise InputError(
        f"--data {spec.name}: holds images of classes; --task {task.name} takes an npz file with {task.array!r}{also}"
    )


def refuse_for_numbers(spec: DataSpec) -> None:
    """Raise InputError for data and options that are of images, where windows or vectors of numbers are trained on."""
    problems = []
    if not spec.name.startswith("npz:") and spec.name not in OF_NUMBERS:
        problems.append(f"--data {spec.name}: holds images; give an npz file with 'inputs' and 'labels'")
    if spec.image_size is not None:
        problems.append("--image-size: is for images; leave it out")
    if spec.augment not in ("auto", "none"):
        problems.append(f"--augment {spec.augment}: is for images; leave it out")
    if spec.unreadable != "refuse":
        problems.append(f"--unreadable {spec.unreadable}: is for image files; leave it out")
    if problems:
        raise InputError(f"{'; '.join(problems)} (the model takes windows or vectors of numbers)")


def _of_numbers(
    spec: DataSpec,
    train: Images,
    test: Images,
    names: tuple[str, ...],
    notes: tuple[str, ...],
    like: Preprocess | None,
) -> DataSet:
    """Windows or vectors, normalised by the mean and deviation of each channel over all training entries."""
    preprocess = like
    if preprocess is None:
        assert isinstance(train, NumbersInMemory)
        preprocess = Preprocess(ARRAY, *measured_numbers(train.array))
    return DataSet(spec.name, train, test, names, preprocess, Augment(), notes=notes)


def _from_folder(spec: DataSpec, root: Path, threads: int, usual_size: int, like: Preprocess | None) -> DataSet:
    parts = read_parts(root) if spec.task.of_classes else read_unsorted(root, spec.task)
    split = split_fifth if spec.task.of_classes else fifth
    train, test = (parts.train, parts.test) if parts.test is not None else split(parts.train)
    listings = [train, test] if parts.validation is None else [train, test, parts.validation]
    look = survey([file for listing in listings for file in listing.files], spec.unreadable, threads)
    ends = np.cumsum([len(listing.files) for listing in listings])[:-1]
    listings = [only_readable(each, ok) for each, ok in zip(listings, np.split(look.readable, ends), strict=True)]
    train, test = listings[:2]
    validation = None
    if parts.validation is not None:
        validation = np.arange(len(train.files), len(train.files) + len(listings[2].files), dtype=np.int64)
        train = train.joined(listings[2])
    note: tuple[str, ...] = ()
    preprocess = like
    if preprocess is None:
        channels = 1 if look.grey else 3
        plain = Preprocess("L" if look.grey else "RGB", (0.0,) * channels, (1.0,) * channels)
        preprocess, note = _sized(plain, spec.image_size, look.sizes, usual_size)
    images = opened([train, test], preprocess, size_of(preprocess), threads)
    if like is None:
        count = len(images[0])
        picks = np.unique(np.linspace(0, count - 1, min(count, MEASURED_IMAGES)).astype(np.int64))
        mean, std = measured(images[0].pixels(picks))
        preprocess = replace(preprocess, mean=mean, std=std)
        images = [normalised(each, preprocess) for each in images]
    names = train.classes
    if not spec.task.of_classes:
        pairs = zip(images, (train, test), strict=True)
        images = [with_targets(each, listing, spec.task, preprocess) for each, listing in pairs]
        names = names_of(root, spec.task, images)
    augment = Augment.parse(_augment(spec), images[0].shape, flip=True)
    notes, skipped = (*parts.notes, *look.notes, *note), int((~look.readable).sum())
    return DataSet(spec.name, images[0], images[1], names, preprocess, augment, validation, notes, skipped)


def _augment(spec: DataSpec) -> str:
    """What was asked for; where targets are no classes, nothing is known to leave them as they are."""
    return "none" if spec.augment == "auto" and not spec.task.of_classes else spec.augment


def _from_arrays(
    spec: DataSpec,
    arrays: tuple[Images, Images, tuple[str, ...], tuple[str, ...]],
    usual_size: int,
    like: Preprocess | None,
) -> DataSet:
    train, test, names, notes = arrays
    assert isinstance(train, ImagesInMemory)
    assert isinstance(test, ImagesInMemory)
    note: tuple[str, ...] = ()
    preprocess = like
    if preprocess is None:
        channels = train.shape[0]
        plain = Preprocess("L" if channels == 1 else "RGB", (0.0,) * channels, (1.0,) * channels)
        preprocess, note = _sized(plain, spec.image_size, frozenset([train.shape[1:]]), usual_size)
    train, test = resized(train, preprocess), resized(test, preprocess)
    if like is None:
        mean, std = NORMALISATION.get(spec.name) or measured(train.array)
        preprocess = replace(preprocess, mean=mean, std=std)
    # A mirrored digit is another sign; nothing is known about the images of an npz file.
    augment = Augment.parse(_augment(spec), train.shape, flip=spec.name in TORCHVISION)
    return DataSet(spec.name, train, test, names, preprocess, augment, notes=(*notes, *note))


def _sized(
    preprocess: Preprocess,
    image_size: int | tuple[int, int] | None,
    sizes: frozenset[tuple[int, int]],
    usual_size: int,
) -> tuple[Preprocess, tuple[str, ...]]:
    """The preprocessing that leads images of any size to the network's input, and a note where a size was chosen."""
    if isinstance(image_size, int):
        return preprocess.leading_to(image_size, image_size), ()
    if image_size is not None:
        return replace(preprocess, resize=image_size), ()
    if len(sizes) == 1 and max(next(iter(sizes))) <= MOST_OWN_SIDE:
        return preprocess.leading_to(*next(iter(sizes))), ()
    smallest, largest = ("x".join(map(str, side)) for side in (min(sizes), max(sizes)))
    found = f"{len(sizes)} sizes from {smallest} to {largest}" if len(sizes) > 1 else f"{smallest} pixels"
    note = (
        f"images of {found} are resized to {usual_size}x{usual_size}, the model's usual size (short side, then centre "
    )
    return preprocess.leading_to(usual_size, usual_size), (f"{note}crop); --image-size chooses another",)


def split_validation(
    labels: npt.NDArray[np.int64], fraction: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the indices to train on and those to validate on, both ascending; the seed alone decides.

    Each class gives the same fraction, rounded down, and keeps at least one image for training.
    """
    generator = np.random.default_rng([seed, 0x56A1])
    held: list[npt.NDArray[np.int64]] = []
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        held.append(members[: min(int(len(members) * fraction), len(members) - 1)])
    validation = np.sort(np.concatenate(held)).astype(np.int64)
    training = np.setdiff1d(np.arange(len(labels), dtype=np.int64), validation, assume_unique=True)
    return training, validation
