"""What lies in a folder of images: its training and test part, its classes, their files, and what is left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from edge.data.photo import SUFFIXES

TEST_PARTS = ("test", "valid", "val", "validation")


@dataclass
class LeftOut:
    """Files and folders that are no images of a class, counted while folders are listed."""

    files: Counter[str] = field(default_factory=Counter)
    folders: int = 0

    def note(self, folder: Path) -> tuple[str, ...]:
        """One line for a person; none where nothing was left out."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.files.items()))
        parts = [f"{self.files.total()} files that are not read as images ({kinds})"] if kinds else []
        parts += [f"{self.folders} folders where files are expected"] if self.folders else []
        return (f"{folder}: left out are {' and '.join(parts)}",) if parts else ()


def parts_of(folder: Path, left_out: LeftOut) -> tuple[Path, Path | None]:
    """The folders of classes to train on and to test on: `train/` and `test/` (or `valid/`, `val/`), or the folder.

    A `train/` that holds images instead of folders is a class like any other.
    """
    train = folder / "train"
    if not train.is_dir() or not subfolders(train):
        return folder, None
    found = [folder / name for name in TEST_PARTS if (folder / name).is_dir()]
    others = [name for name in subfolders(folder) if name != "train" and folder / name not in found[:1]]
    left_out.folders += len(others)
    return train, found[0] if found else None


def unsorted_parts(folder: Path) -> tuple[Path, Path | None]:
    """The folders to train on and to test on, of images without classes: `train/` and `test/`, or the folder."""
    if not (folder / "train").is_dir():
        return folder, None
    found = [folder / name for name in TEST_PARTS if (folder / name).is_dir()]
    return folder / "train", found[0] if found else None


def subfolders(folder: Path) -> list[str]:
    """Names of the folders inside, sorted; hidden ones aside."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def image_files(folder: Path, left_out: LeftOut) -> list[bytes]:
    """Names of the image files inside, sorted; whatever else lies there is counted."""
    found = []
    for entry in os.scandir(folder):
        suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - no Path per image
        if entry.is_dir():
            left_out.folders += not entry.name.startswith(".")
        elif suffix in SUFFIXES and not entry.name.startswith("."):
            found.append(os.fsencode(entry.name))
        else:
            left_out.files["hidden" if entry.name.startswith(".") else suffix or "without suffix"] += 1
    return sorted(found)


def loose_files(folder: Path, left_out: LeftOut) -> None:
    """Count the files that lie beside the folders of the classes."""
    for entry in os.scandir(folder):
        if not entry.is_dir() and not entry.name.startswith("."):
            suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - no Path per file
            left_out.files[f"{suffix or 'without suffix'} beside the classes"] += 1


def class_name(name: str) -> str:
    """A folder's name as that of a class: composed (NFC), bytes that are no UTF-8 escaped.

    A copy from another system may spell é as e and an accent; it is the same class.
    """
    if name.isascii():
        return name
    return composed(os.fsencode(name).decode("utf-8", "backslashreplace"))


def composed(name: str) -> str:
    """The name in Unicode's composed form (NFC)."""
    if name.isascii():
        return name
    from unicodedata import normalize  # only here: it brings a megabyte of tables along

    return normalize("NFC", name)


def same_names(names: Iterable[str]) -> dict[str, int]:
    """The number of each name, under its composed form."""
    return {composed(name): number for number, name in enumerate(names)}
