"""Images that come as arrays: an npz file, the packaged digits, torchvision's small data sets."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mest.data.images import ImagesInMemory
from mest.data.preprocess import Preprocess
from mest.errors import InputError
from mest.torchvision import load_torchvision

DIGITS = Path(__file__).with_name("digits.npz")


def read_npz(path: Path) -> tuple[ImagesInMemory, ImagesInMemory, tuple[str, ...]]:
    """Return training and test images and the class names of an npz file.

    `images` uint8 (n, h, w) or (n, h, w, 1 or 3), `labels` integers (n,), and as options `class_names` (one text per
    class) and `test`, a bool (n,) that marks the test images; without it every fifth image is one.
    Raises InputError for anything else.
    """
    if not path.is_file():
        raise InputError(f"npz:{path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("images", "labels", "class_names", "test") if name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as failed:
        raise InputError(f"npz:{path}: not a readable npz file ({failed})") from failed
    for name in ("images", "labels"):
        if name not in arrays:
            raise InputError(f"npz:{path}: no array {name!r}; needed are images uint8 (n, h, w[, c]) and labels (n,)")
    images, labels = as_images(arrays["images"], f"npz:{path}"), arrays["labels"]
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu" or len(images) == 0 or labels.min() < 0:
        raise InputError(
            f"npz:{path}: labels {labels.dtype} {labels.shape}, expected integers from 0, one for each of {len(images)}"
        )
    classes = int(labels.max()) + 1
    names = tuple(str(name) for name in arrays.get("class_names", np.arange(classes)))
    if len(names) < max(2, classes) or len(np.unique(labels)) < 2:
        raise InputError(
            f"npz:{path}: {len(np.unique(labels))} class(es) and {len(names)} names; at least 2 are needed"
        )
    test = arrays.get("test", np.arange(len(images)) % 5 == 4)
    if test.shape != labels.shape or test.dtype != np.bool_ or test.all() or not test.any():
        raise InputError(f"npz:{path}: test {test.dtype} {test.shape} must be bool, mark some images and leave some")
    return _part(images, labels, ~test), _part(images, labels, test), names


def as_images(array: npt.NDArray[Any], where: str) -> npt.NDArray[np.uint8]:
    """Return uint8 `(n, h, w, c)` of `(n, h, w)` or `(n, h, w, c)` with 1 or 3 channels; `where` begins the refusal."""
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3)):
        raise InputError(f"{where}: images {array.dtype} {array.shape}, expected uint8 (n, h, w) or (n, h, w, 1 or 3)")
    return array[..., None] if array.ndim == 3 else array


def _part(images: npt.NDArray[np.uint8], labels: npt.NDArray[Any], chosen: npt.NDArray[np.bool_]) -> ImagesInMemory:
    return ImagesInMemory(labels[chosen].astype(np.int64), images[chosen])


def read_torchvision(name: str, folder: Path, download: bool) -> tuple[ImagesInMemory, ImagesInMemory, tuple[str, ...]]:
    """Return training and test images and class names of CIFAR10, CIFAR100 or FashionMNIST as torchvision keeps them.

    Raises InputError without torchvision, and if the data are not in `folder` and downloading was not asked for.
    """
    instead = "give images in folders with --data imagefolder:DIR, or arrays with --data npz:FILE"
    datasets = load_torchvision("datasets", f"--data {name.lower()}", instead)
    parts = []
    names: tuple[str, ...] = ()
    for train in (True, False):
        try:
            source = getattr(datasets, name)(root=str(folder), train=train, download=download)
        except RuntimeError as failed:
            raise InputError(
                f"--data {name.lower()}: not found in {folder}; give its place with --data-dir, or add --download"
            ) from failed
        labels = np.asarray(source.targets, dtype=np.int64)
        parts.append(ImagesInMemory(labels, as_images(np.asarray(source.data, dtype=np.uint8), name)))
        names = tuple(source.classes)
    return parts[0], parts[1], names


def resized(images: ImagesInMemory, preprocess: Preprocess) -> ImagesInMemory:
    """Return the images in the preprocessing's mode and size."""
    mode = "L" if images.array.shape[3] == 1 else "RGB"
    if preprocess.resize is None and preprocess.crop is None and mode == preprocess.mode:
        return images
    pillow = (Image.fromarray(image[..., 0] if mode == "L" else image) for image in images.array)
    return ImagesInMemory(images.labels, np.stack([preprocess.pixels(image) for image in pillow]), images.checksum())
