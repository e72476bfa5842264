"""Images in folders, one folder per class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mest.data.images import Images, ImagesOnDisk, header, refuse_empty
from mest.data.preprocess import Preprocess, measured
from mest.errors import InputError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})
IN_MEMORY_BYTES = 2 << 30
MEASURED_IMAGES = 10_000


@dataclass(frozen=True)
class Listing:
    """The files of one folder of classes, classes and files sorted by name."""

    root: Path
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: npt.NDArray[np.int64]


def list_classes(root: Path) -> Listing:
    """Return what `root/<class>/*` holds; raises InputError for fewer than two classes or a class without images."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; expected one folder per class in it")
    classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(classes) < 2:
        raise InputError(f"{root}: {len(classes)} class folder(s), at least 2 are needed: {root}/<class>/<image>")
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(file for file in (root / name).iterdir() if file.suffix.lower() in SUFFIXES)
        if not found:
            raise InputError(f"{root / name}: no images ({', '.join(sorted(SUFFIXES))}) in this class")
        files += found
        labels += [label] * len(found)
    refuse_empty(files)
    return Listing(root, tuple(classes), tuple(files), np.array(labels, np.int64))


def read_folder(
    root: Path, image_size: int | tuple[int, int] | None, threads: int
) -> tuple[Images, Images, tuple[str, ...], Preprocess]:
    """Return training and test images, class names and preprocessing of a folder.

    With `root/train`, the test set is `root/test` or `root/val`; without, or with neither of the two, every fifth image
    of each class. Raises InputError that names what is missing, unreadable or of another size.
    """
    if not root.is_dir():
        raise InputError(f"imagefolder:{root}: no such folder")
    train = list_classes(root / "train" if (root / "train").is_dir() else root)
    held_out = next((root / name for name in ("test", "val") if (root / name).is_dir()), None)
    if train.root != root and held_out is not None:
        test = list_classes(held_out)
        if test.classes != train.classes:
            odd = sorted(set(test.classes) ^ set(train.classes))
            raise InputError(f"{held_out}: classes differ from those of {train.root}: {', '.join(odd[:5])}")
    else:
        train, test = split_fifth(train)
    preprocess, size = describe(train, image_size)
    images = [on_disk(listing, preprocess, size) for listing in (train, test)]
    fits = sum(len(each) for each in images) * int(np.prod(images[0].shape)) <= IN_MEMORY_BYTES
    loaded = [each.in_memory(threads) if fits else each for each in images]
    if not fits and image_size is None:
        for listing in (train, test):
            refuse_other_sizes(listing, size)
    picks = np.unique(np.linspace(0, len(loaded[0]) - 1, min(len(loaded[0]), MEASURED_IMAGES)).astype(np.int64))
    mean, std = measured(loaded[0].pixels(picks))
    preprocess = replace(preprocess, mean=mean, std=std)
    if not fits:
        loaded = [replace(each, preprocess=preprocess) for each in images]
    return loaded[0], loaded[1], train.classes, preprocess


def split_fifth(listing: Listing) -> tuple[Listing, Listing]:
    """Return training and test part of one listing: every fifth image of each class is the test's."""
    rank = np.concatenate([np.arange(count) for count in np.bincount(listing.labels)])
    test = rank % 5 == 4
    for label in np.flatnonzero(np.bincount(listing.labels[test], minlength=len(listing.classes)) == 0):
        raise InputError(
            f"{listing.root / listing.classes[label]}: too few images to hold out a fifth for the test; "
            "give at least 5, or folders train/ and test/"
        )
    parts = []
    for chosen in (~test, test):
        files = tuple(listing.files[i] for i in np.flatnonzero(chosen))
        parts.append(Listing(listing.root, listing.classes, files, listing.labels[chosen]))
    return parts[0], parts[1]


def describe(listing: Listing, image_size: int | tuple[int, int] | None) -> tuple[Preprocess, tuple[int, int]]:
    """Return the preprocessing (not yet normalised) and the (height, width) that it gives, from the first image."""
    mode, height, width = header(listing.files[0])
    mode = "L" if mode in ("1", "L", "LA") else "RGB"
    channels = 1 if mode == "L" else 3
    plain = Preprocess(mode, (0.0,) * channels, (1.0,) * channels)
    if image_size is None:
        return plain, (height, width)
    if isinstance(image_size, int):
        return replace(plain, resize=image_size, crop=(image_size, image_size)), (image_size, image_size)
    return replace(plain, resize=image_size), image_size


def on_disk(listing: Listing, preprocess: Preprocess, size: tuple[int, int]) -> ImagesOnDisk:
    """Return the images of a listing, not yet decoded."""
    return ImagesOnDisk(listing.labels, listing.root, listing.files, preprocess, size)


def refuse_other_sizes(listing: Listing, size: tuple[int, int]) -> None:
    """Raise InputError that names the first file whose header is unreadable or gives another size."""
    for file in listing.files:
        _, height, width = header(file)
        if (height, width) != size:
            raise InputError(
                f"{file}: {height}x{width} where others have {size[0]}x{size[1]}; give one size with --image-size"
            )
