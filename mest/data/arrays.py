"""What comes as arrays: an npz file of images or numbers, a packaged set, torchvision's small data sets."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import numpy.typing as npt
from PIL import Image

from mest.data.images import Images, ImagesInMemory, NumbersInMemory
from mest.data.preprocess import Preprocess
from mest.errors import InputError
from mest.tasks.registry import CLASSIFICATION
from mest.tasks.task import Task
from mest.torchvision import load_torchvision

IMAGES, INPUTS = "images", "inputs"  # the names of the array in an npz file
NUMBERS = (("u", 1), ("i", 2), ("f", 4))  # kind and bytes of what `inputs` may hold: uint8, int16, float32


@dataclass(frozen=True)
class Arrays:
    """Labelled entries of an npz file as it holds them; `class_names` and `test` are None where it does not say.

    `name`: "images" uint8 `(n, h, w, c)`, or "inputs" of any numbers `(n, ...)`. `labels` as the task has them; where
    they are no classes there is a name for each of their columns or values.
    """

    name: str
    entries: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    class_names: tuple[str, ...] | None
    test: npt.NDArray[np.bool_] | None


def load_npz(path: Path, wanted: str | None = None, task: Task = CLASSIFICATION) -> Arrays:
    """Return what an npz file holds.

    `images` uint8 (n, h, w) or (n, h, w, 1 or 3), or `inputs` uint8, int16 or float32 (n, f), (n, c, l) or
    (n, c, h, w); `labels` integers from 0 (n,), and as options `class_names` (one text per class) and `test`, a bool
    (n,) that marks the test images. `wanted` is one of the two; by default images, where they are there. Another task
    has its own targets in the place of labels. Raises InputError for anything else.
    """
    if not path.is_file():
        raise InputError(f"npz:{path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as file:
            name = wanted or (INPUTS if INPUTS in file.files and IMAGES not in file.files else IMAGES)
            parts = (name, task.array, "class_names", "test")
            arrays = {part: file[part] for part in parts if part is not None and part in file.files}
            others = {IMAGES, INPUTS}.intersection(file.files)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as failed:
        raise InputError(f"npz:{path}: not a readable npz file ({failed})") from failed
    if name not in arrays and others:
        takes = "images" if name == IMAGES else "windows or vectors of numbers"
        raise InputError(f"npz:{path}: no array {name!r} but {min(others)!r}, and the model takes {takes}")
    for part in (name, task.array):
        if part is not None and part not in arrays:
            needed = "labels (n,)" if task.of_classes else f"{task.array}, for the task {task.name}"
            raise InputError(f"npz:{path}: no array {part!r}; needed are images uint8 (n, h, w[, c]) and {needed}")
    entries = (as_images if name == IMAGES else as_numbers)(arrays[name], f"npz:{path}")
    if not task.of_classes:
        return _targets(name, entries, arrays, task, f"npz:{path}")
    labels = arrays["labels"]
    if labels.shape != (len(entries),) or labels.dtype.kind not in "iu" or len(entries) == 0 or labels.min() < 0:
        raise InputError(
            f"npz:{path}: labels {labels.dtype} {labels.shape}, expected integers from 0, one for each of "
            f"{len(entries)}"
        )
    names, test = arrays.get("class_names"), arrays.get("test")
    if names is not None and (names.ndim != 1 or labels.max() >= len(names)):
        raise InputError(f"npz:{path}: label {labels.max()}; the {names.size} class_names allow 0 to {names.size - 1}")
    if test is not None and (test.shape != labels.shape or test.dtype != np.bool_ or not test.any()):
        raise InputError(f"npz:{path}: test {test.dtype} {test.shape} must be bool, one for each image, and mark some")
    texts = None if names is None else tuple(class_text(name) for name in names.tolist())
    if texts is not None and len(set(texts)) < len(texts):
        raise InputError(f"npz:{path}: class_names names one class twice: {', '.join(sorted(texts))}")
    return Arrays(name, entries, labels, texts, test)


def _targets(
    name: str, entries: npt.NDArray[Any], arrays: Mapping[str, npt.NDArray[Any]], task: Task, where: str
) -> Arrays:
    """Entries with the targets of a task that has no classes, and their names: numbers unless the file has some."""
    shape = (entries.shape[3], *entries.shape[1:3]) if name == IMAGES else entries.shape[1:]
    array = entries if task.array is None else arrays[task.array]
    if len(array) != len(entries) or not len(entries):
        raise InputError(f"{where}: {task.array or name} {array.shape}, expected one for each of {len(entries)}")
    try:
        targets, count = task.read(array, shape)
    except ValueError as refused:
        raise InputError(f"{where}: {task.array}: {refused}") from refused
    test = arrays.get("test")
    if test is not None and (test.shape != (len(entries),) or test.dtype != np.bool_ or not test.any()):
        raise InputError(f"{where}: test {test.dtype} {test.shape} must be bool, one for each image, and mark some")
    names = tuple(map(class_text, arrays["class_names"].tolist() if "class_names" in arrays else range(count)))
    if len(set(names)) < len(names) or (len(names) < count if task.masks_images else len(names) != count):
        raise InputError(f"{where}: {len(names)} class_names, expected {count} different ones")
    return Arrays(name, entries, targets, names, test)


def read_npz(
    path: Path, wanted: str | None = None, task: Task = CLASSIFICATION
) -> tuple[Images, Images, tuple[str, ...], tuple[str, ...]]:
    """Return training and test images (or numbers), the class names and notes of an npz file; `wanted` as there.

    Without marks in the file every fifth image is a test image; without names a class is called by its label, and
    labels that no image has are no classes. Raises InputError.
    """
    found = load_npz(path, wanted, task)
    labels, names, notes = found.labels, found.class_names, []
    if not task.of_classes:
        assert names is not None
        return (*_parts(found, labels, path), names, ())
    used = np.unique(labels)
    if names is None:
        names = tuple(str(label) for label in used.tolist())
        if names != tuple(map(str, range(len(used)))):
            labels = np.searchsorted(used, labels)
            notes.append(
                f"npz:{path}: no class_names; the {len(used)} classes are called by their labels, "
                f"{', '.join(names[:5])}{', …' if len(names) > 5 else ''}"
            )
    elif len(used) < len(names):
        empty = [name for number, name in enumerate(names) if number not in set(used.tolist())]
        notes.append(f"npz:{path}: no image of the class {', '.join(empty[:5])}{', …' if len(empty) > 5 else ''}")
    if len(names) < 2 or len(used) < 2:
        raise InputError(f"npz:{path}: {len(used)} class(es) and {len(names)} names; at least 2 are needed")
    return (*_parts(found, labels, path), names, tuple(notes))


def _parts(found: Arrays, labels: npt.NDArray[Any], path: Path) -> tuple[Images, Images]:
    """What is to be trained on, and what is held out for the test."""
    test = np.arange(len(labels)) % 5 == 4 if found.test is None else found.test
    if test.all() or not test.any():
        raise InputError(f"npz:{path}: test {test.dtype} {test.shape} must mark some images and leave some")
    return part_of(found, labels, ~test), part_of(found, labels, test)


def class_text(name: str | bytes | int) -> str:
    """Return a class name as text in its composed form (NFC), whatever type the file holds names in."""
    return normalize("NFC", name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name))


def as_images(array: npt.NDArray[Any], where: str) -> npt.NDArray[np.uint8]:
    """Return uint8 `(n, h, w, c)` of `(n, h, w)` or `(n, h, w, c)` with 1 or 3 channels; `where` begins the refusal."""
    if (
        array.dtype != np.uint8
        or array.ndim not in (3, 4)
        or (array.ndim == 4 and array.shape[3] not in (1, 3))
        or 0 in array.shape[1:]
    ):
        raise InputError(f"{where}: images {array.dtype} {array.shape}, expected uint8 (n, h, w) or (n, h, w, 1 or 3)")
    return array[..., None] if array.ndim == 3 else array


def as_numbers(array: npt.NDArray[Any], where: str) -> npt.NDArray[Any]:
    """Return uint8, int16 or float32 `(n, f)`, `(n, c, l)` or `(n, c, h, w)`; `where` begins the refusal."""
    known = (array.dtype.kind, array.dtype.itemsize) in NUMBERS
    if not known or array.ndim not in (2, 3, 4) or 0 in array.shape[1:]:
        raise InputError(
            f"{where}: inputs {array.dtype} {array.shape}, expected uint8, int16 or float32 (n, f), (n, c, l) or "
            "(n, c, h, w)"
        )
    if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
        raise InputError(
            f"{where}: {int((~finite).sum())} of the inputs' numbers are not finite; leave those entries out"
        )
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def part_of(found: Arrays, labels: npt.NDArray[Any], chosen: npt.NDArray[np.bool_]) -> Images:
    """Return the chosen entries (bool `(n,)`) of a file under these labels."""
    kind = ImagesInMemory if found.name == IMAGES else NumbersInMemory
    part = labels[chosen]
    return kind(part.astype(np.int64) if part.ndim == 1 else part, found.entries[chosen])


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
            raise InputError(f"--data {name.lower()}: {_why_missing(datasets, name, folder)}") from failed
        labels = np.asarray(source.targets, dtype=np.int64)
        parts.append(ImagesInMemory(labels, as_images(np.asarray(source.data, dtype=np.uint8), name)))
        names = tuple(source.classes)
    return parts[0], parts[1], names


def _why_missing(datasets: Any, name: str, folder: Path) -> str:
    """Which of a set's files is missing or is not what torchvision expects, and what to do."""
    source = getattr(datasets, name)
    listed = [*getattr(source, "train_list", ()), *getattr(source, "test_list", ())]
    for file, expected in listed:
        path = folder / source.base_folder / file
        if path.is_file() and hashlib.md5(path.read_bytes()).hexdigest() != expected:
            return f"{path} is not the published file (its MD5 differs); remove it and add --download, or copy it again"
    return f"not found in {folder}; give its place with --data-dir, or add --download"


def resized(images: ImagesInMemory, preprocess: Preprocess) -> ImagesInMemory:
    """Return the images in the preprocessing's mode and size."""
    mode = "L" if images.array.shape[3] == 1 else "RGB"
    height, width = images.shape[1:]
    size = (preprocess.target((width, height)) or (width, height))[::-1]
    if mode == preprocess.mode and size == (height, width) and preprocess.crop in (None, size):
        return images
    labels = images.labels
    if images.masked:
        labels = np.stack([preprocess.mask(mask) for mask in labels])
    pillow = (Image.fromarray(image[..., 0] if mode == "L" else image) for image in images.array)
    return ImagesInMemory(labels, np.stack([preprocess.pixels(image) for image in pillow]), images.checksum())
