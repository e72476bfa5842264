"""Which data: from `--data` to training images, test images and what goes with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mest.data.arrays import DIGITS, read_npz, read_torchvision, resized
from mest.data.augment import Augment
from mest.data.folder import read_folder
from mest.data.images import Images, ImagesInMemory
from mest.data.preprocess import Preprocess, measured
from mest.errors import InputError

Arrays = tuple[ImagesInMemory, ImagesInMemory, tuple[str, ...]]
TORCHVISION = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "fashion_mnist": "FashionMNIST"}
# The constants that the published code normalises with.
NORMALISATION = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}
ALLOWED = "digits, cifar10, cifar100, fashion_mnist, imagefolder:DIR or npz:FILE"


@dataclass(frozen=True)
class DataSpec:
    """What the user said about the data. `image_size`: a side in pixels (centre crop) or an exact (height, width)."""

    name: str
    folder: Path = Path("data")
    download: bool = False
    image_size: int | tuple[int, int] | None = None
    augment: str = "auto"


@dataclass(frozen=True)
class DataSet:
    """Training and test images, their classes and preprocessing. Indices always mean `train` as a whole."""

    name: str
    train: Images
    test: Images
    class_names: tuple[str, ...]
    preprocess: Preprocess
    augment: Augment

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the training images and labels, by which a ranking knows its data."""
        return self.train.checksum()


def data_name(given: str) -> str:
    """The name of a data set as DataSpec takes it: the path of a folder or an npz file gets its kind before it.

    Names of data sets come first, whatever folders there are.
    """
    if given.partition(":")[0] in ("digits", "imagefolder", "npz", *TORCHVISION):
        return given
    return f"imagefolder:{given}" if Path(given).is_dir() else f"npz:{given}" if given.endswith(".npz") else given


def open_data(spec: DataSpec, threads: int = 1) -> DataSet:
    """Return the data set that `spec` names; raises InputError in one line for anything that is not right with it."""
    kind, _, rest = spec.name.partition(":")
    if kind == "imagefolder" and rest:
        train, test, names, preprocess = read_folder(Path(rest), spec.image_size, threads)
        return DataSet(spec.name, train, test, names, preprocess, Augment.parse(spec.augment, train.shape, flip=True))
    sources: dict[str, Callable[[], Arrays]] = {
        "digits": lambda: read_npz(DIGITS),
        **{name: lambda name=name: _from_torchvision(name, spec) for name in TORCHVISION},  # type: ignore[misc]
    }
    if kind == "npz" and rest:
        sources[spec.name] = lambda: read_npz(Path(rest))
    if spec.name not in sources:
        near = get_close_matches(kind, [*sources, "imagefolder", "npz"], 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"--data {spec.name}: no such data set; {hint}Allowed are {ALLOWED}")
    return _from_arrays(spec, sources[spec.name]())


def _from_torchvision(name: str, spec: DataSpec) -> Arrays:
    return read_torchvision(TORCHVISION[name], spec.folder, spec.download)


def _from_arrays(spec: DataSpec, arrays: Arrays) -> DataSet:
    train, test, names = arrays
    channels = train.shape[0]
    preprocess = Preprocess("L" if channels == 1 else "RGB", (0.0,) * channels, (1.0,) * channels)
    if isinstance(spec.image_size, int):
        preprocess = replace(preprocess, resize=spec.image_size, crop=(spec.image_size, spec.image_size))
    elif spec.image_size is not None:
        preprocess = replace(preprocess, resize=spec.image_size)
    train, test = resized(train, preprocess), resized(test, preprocess)
    mean, std = NORMALISATION.get(spec.name) or measured(train.array)
    preprocess = replace(preprocess, mean=mean, std=std)
    # A mirrored digit is another sign; nothing is known about the images of an npz file.
    flip = spec.name in TORCHVISION
    return DataSet(spec.name, train, test, names, preprocess, Augment.parse(spec.augment, train.shape, flip=flip))


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
