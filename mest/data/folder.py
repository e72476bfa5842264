"""Images in folders: the training and the test part, one folder per class in each, and what is left out."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from mest.data.images import Images, ImagesOnDisk
from mest.data.photo import SUFFIXES
from mest.data.preprocess import Preprocess
from mest.errors import InputError

IN_MEMORY_BYTES = 2 << 30
TEST_PARTS = ("test", "valid", "val", "validation")


@dataclass
class LeftOut:
    """Files and folders that are no images of a class, counted while folders are listed."""

    files: Counter[str] = field(default_factory=Counter)
    folders: int = 0

    def note(self, root: Path) -> tuple[str, ...]:
        """One line for a person; none where nothing was left out."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.files.items()))
        parts = [f"{sum(self.files.values())} files that are not read as images ({kinds})"] if kinds else []
        parts += [f"{self.folders} folders where files are expected"] if self.folders else []
        return (f"{root}: left out are {' and '.join(parts)}",) if parts else ()


@dataclass(frozen=True)
class Listing:
    """The files of one folder of classes, classes and files sorted by name."""

    root: Path
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: npt.NDArray[np.int64]

    def only(self, chosen: npt.NDArray[np.bool_]) -> Listing:
        """The chosen files, all classes kept."""
        files = tuple(self.files[i] for i in np.flatnonzero(chosen))
        return Listing(self.root, self.classes, files, self.labels[chosen])

    def joined(self, other: Listing) -> Listing:
        """This listing and another one of the same classes behind it, under the folder that holds both."""
        labels = np.concatenate([self.labels, other.labels])
        return Listing(self.root.parent, self.classes, self.files + other.files, labels)


@dataclass(frozen=True)
class Parts:
    """What a folder holds; `test` and `validation` are None where it does not say which images are for that."""

    train: Listing
    test: Listing | None
    validation: Listing | None
    notes: tuple[str, ...]


def read_parts(root: Path, fewest: int = 2) -> Parts:
    """Return what lies in `root/<class>/*`, or in `root/train`, `root/test` and `root/valid` (or `val`) likewise.

    With one of the latter two alone, that one is the test's. A `train` that holds images is a class like any other.
    Raises InputError for fewer than `fewest` classes, a class without images, parts of different classes.
    """
    if not root.is_dir():
        raise InputError(f"imagefolder:{root}: no such folder; expected one folder per class in it")
    left_out = LeftOut()
    train = root / "train"
    if not train.is_dir() or not subfolders(train):
        listing = list_classes(root, left_out, fewest)
        return Parts(listing, None, None, left_out.note(root))
    found = [root / name for name in TEST_PARTS if (root / name).is_dir()]
    used = found[:2] if found and found[0].name == "test" else found[:1]
    left_out.folders += len(subfolders(root)) - 1 - len(used)
    listing = list_classes(train, left_out, fewest)
    others = [list_classes(place, left_out, fewest, listing) for place in used]
    test, validation = [*others, None, None][:2]
    return Parts(listing, test, validation, left_out.note(root))


def list_classes(root: Path, left_out: LeftOut, fewest: int = 2, like: Listing | None = None) -> Listing:
    """Return what `root/<class>/*` holds, labelled as `like` where that is given.

    Raises InputError for fewer than two classes, a class without images, two names of one class, classes unlike those.
    """
    folders = {}
    for name in subfolders(root):
        if class_name(name) in folders:
            raise InputError(f"{root / name}: has the same name as another folder, in another Unicode form; join them")
        folders[class_name(name)] = root / name
    if len(folders) < fewest:
        raise InputError(
            f"{root}: {len(folders)} class folder(s), at least {fewest} are needed: {root}/<class>/<image>"
        )
    classes = tuple(sorted(folders)) if like is None else like.classes
    if set(classes) != set(folders):
        odd = sorted(set(classes) ^ set(folders))
        raise InputError(f"{root}: classes differ from those of {like.root if like else root}: {', '.join(odd[:5])}")
    for entry in os.scandir(root):
        if not entry.is_dir() and not entry.name.startswith("."):
            left_out.files[f"{suffix_of(entry.name) or 'without suffix'} beside the classes"] += 1
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        inside = image_files(folders[name], left_out)
        if not inside:
            raise InputError(f"{folders[name]}: no images ({', '.join(sorted(SUFFIXES))}) in this class")
        files += inside
        labels += [label] * len(inside)
    return Listing(root, classes, tuple(files), np.array(labels, np.int64))


def image_files(folder: Path, left_out: LeftOut) -> list[Path]:
    """The image files inside, sorted by the bytes of their names; whatever else lies there is counted."""
    found = []
    for entry in os.scandir(folder):
        if entry.is_dir():
            left_out.folders += not entry.name.startswith(".")
        elif suffix_of(entry.name) in SUFFIXES and not entry.name.startswith("."):
            found.append(folder / entry.name)
        else:
            kind = "hidden" if entry.name.startswith(".") else suffix_of(entry.name) or "without suffix"
            left_out.files[kind] += 1
    return sorted(found, key=lambda file: os.fsencode(file.name))


def subfolders(folder: Path) -> list[str]:
    """Names of the folders inside, sorted; hidden ones aside."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def suffix_of(name: str) -> str:
    """The suffix in small letters, with its dot."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - no Path per file


def class_name(name: str) -> str:
    """A folder's name as that of a class: composed (NFC), bytes that are no UTF-8 escaped.

    A copy from another system may spell é as e and an accent; it is the same class.
    """
    return normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))


def split_fifth(listing: Listing) -> tuple[Listing, Listing]:
    """Return training and test part of one listing: every fifth image of each class is the test's."""
    rank = np.concatenate([np.arange(count) for count in np.bincount(listing.labels)])
    test = rank % 5 == 4
    for label in np.flatnonzero(np.bincount(listing.labels[test], minlength=len(listing.classes)) == 0):
        raise InputError(
            f"{listing.root / listing.classes[label]}: too few images to hold out a fifth for the test; "
            "give at least 5, or folders train/ and test/"
        )
    return listing.only(~test), listing.only(test)


def only_readable(listing: Listing, readable: npt.NDArray[np.bool_]) -> Listing:
    """Return the listing of the files that can be read; raises InputError where a class has none."""
    left = listing if readable.all() else listing.only(readable)
    for label in np.flatnonzero(np.bincount(left.labels, minlength=len(listing.classes)) == 0):
        raise InputError(f"{listing.root / listing.classes[label]}: none of its images can be read; replace them")
    return left


def on_disk(listing: Listing, preprocess: Preprocess, size: tuple[int, int]) -> ImagesOnDisk:
    """Return the images of a listing, not yet decoded."""
    return ImagesOnDisk(listing.labels, listing.root, listing.files, preprocess, size)


def opened(listings: list[Listing], preprocess: Preprocess, size: tuple[int, int], threads: int) -> list[Images]:
    """Return the images of listings: decoded where all of them fit into memory, else as files."""
    found = [on_disk(listing, preprocess, size) for listing in listings]
    fits = sum(len(each) for each in found) * int(np.prod(found[0].shape)) <= IN_MEMORY_BYTES
    return [each.in_memory(threads) if fits else each for each in found]


def normalised(images: Images, preprocess: Preprocess) -> Images:
    """Return the images with the preprocessing that was measured on them."""
    return replace(images, preprocess=preprocess) if isinstance(images, ImagesOnDisk) else images
