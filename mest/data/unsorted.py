"""Image files whose folders say nothing about them: samples of their own for an autoencoder, or beside masks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mest.data.folder import TEST_PARTS, LeftOut, Listing, image_files, subfolders
from mest.data.images import Images, ImagesInMemory, labels_bytes
from mest.data.photo import SUFFIXES, header_of, open_photo, why_unreadable
from mest.data.preprocess import Preprocess
from mest.errors import InputError
from mest.tasks.task import Task

IMAGES, MASKS, CLASSES = "images", "masks", "classes.txt"


@dataclass(frozen=True)
class Unsorted:
    """The images to train on, and those that the folder keeps for the test and for validation, None without."""

    train: Listing
    test: Listing | None
    validation: Listing | None
    notes: tuple[str, ...]


def read_unsorted(root: Path, task: Task) -> Unsorted:
    """Return all images in `root`, or in its `train`, `test` and `valid` (or `val`); of masked ones, in `images` there.

    With one of the latter two alone, that one is the test's. Raises InputError where there are no images.
    """
    if not root.is_dir():
        raise InputError(f"imagefolder:{root}: no such folder")
    left_out = LeftOut()
    if not (root / "train").is_dir():
        return Unsorted(_listing(root, root, task, left_out), None, None, left_out.note(root))
    found = [root / name for name in TEST_PARTS if (root / name).is_dir()]
    used = found[:2] if found and found[0].name == "test" else found[:1]
    train, *others = (_listing(root, part, task, left_out) for part in (root / "train", *used))
    test, validation = [*others, None, None][:2]
    return Unsorted(train, test, validation, left_out.note(root))


def _listing(root: Path, part: Path, task: Task, left_out: LeftOut) -> Listing:
    if task.masks_images:
        for name in (IMAGES, MASKS):
            if not (part / name).is_dir():
                raise InputError(f"{part}: has no folder {name!r}; give images/ and masks/ with a PNG of each name")
        files = image_files(part / IMAGES, left_out)
    else:
        inside = [image_files(part / name, left_out) for name in subfolders(part)]
        files = [*image_files(part, LeftOut()), *(file for each in inside for file in each)]
    if not files:
        raise InputError(f"{part}: no images ({', '.join(sorted(SUFFIXES))})")
    return Listing(root, ("",), tuple(files), np.zeros(len(files), np.int64))


def fifth(listing: Listing) -> tuple[Listing, Listing]:
    """Return training and test part of one listing: every fifth image is the test's."""
    test = np.arange(len(listing.files)) % 5 == 4
    if not test.any():
        raise InputError(f"{listing.root}: {len(test)} images; give at least 5, or folders train/ and test/")
    return listing.only(~test), listing.only(test)


def with_targets(images: Images, listing: Listing, task: Task, preprocess: Preprocess) -> Images:
    """Return the images of a listing with what the task wants of each: their masks, or nothing. Masks lie in memory."""
    if not task.masks_images:
        return replace(images, labels=np.zeros((len(images), 0), np.uint8))
    masks = np.stack([preprocess.mask(read_mask(mask_path(file), file)) for file in listing.files])
    if isinstance(images, ImagesInMemory) and images.source is not None:  # the checksum of the files, without masks
        whole = hashlib.sha256(images.source.encode() + labels_bytes(masks)).hexdigest()
        return replace(images, labels=masks, source=whole)
    return replace(images, labels=masks)


def names_of(root: Path, task: Task, parts: Sequence[Images]) -> tuple[str, ...]:
    """Return the names of classes in masks: those of `classes.txt`, or numbers; of images alone, their channels.

    Raises InputError for a mask with a class that has no name.
    """
    if not task.masks_images:
        return tuple(map(str, range(parts[0].shape[0])))
    try:
        count = max(task.read(part.labels, part.shape)[1] for part in parts)
    except ValueError as refused:
        raise InputError(f"{root / MASKS}: {refused}") from refused
    file = root / CLASSES
    if not file.is_file():
        return tuple(map(str, range(count)))
    names = tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    if len(set(names)) < len(names) or len(names) < count:
        raise InputError(f"{file}: {len(names)} names, expected {count} different ones, one a line")
    return names


def mask_path(image: Path) -> Path:
    """Where the mask of an image lies."""
    return image.parent.parent / MASKS / f"{image.stem}.png"


def read_mask(path: Path, image: Path) -> npt.NDArray[np.uint8]:
    """Return a PNG file of class numbers, uint8 `(h, w)`: grey levels, or places in a palette.

    Raises InputError unless it is one, of its image's size.
    """
    if not path.is_file():
        raise InputError(f"{path}: is missing; every image needs a mask of its name")
    try:
        with open_photo(path) as opened, open_photo(image) as beside:
            mode, size = opened.mode, header_of(beside).upright
            mask = np.asarray(opened, dtype=np.uint8) if mode in ("L", "P") else None
    except MemoryError:
        raise
    except Exception as failed:  # Pillow's readers raise what they like for a damaged file
        raise InputError(f"{path}: not a readable PNG ({why_unreadable(failed)}); replace it") from failed
    if mask is None:
        raise InputError(f"{path}: has mode {mode}; a mask is a grey or palette PNG of 8 bits")
    if mask.shape != size:
        raise InputError(f"{path}: is {mask.shape[0]}x{mask.shape[1]}, its image {size[0]}x{size[1]}")
    return mask
