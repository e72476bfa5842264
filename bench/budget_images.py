"""The images of the budget bench: parts of a folder of classes, and how a new sensor sees two of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mest.demo.sensor import Sensor

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
# Paler, brighter, blurred and noisy, and not turned: photographs have an upright side.
SENSOR = Sensor(turn_degrees=0.0, blur=0.6, gain=0.5, offset=70.0, noise=8.0)

Part = dict[str, list[Path]]  # class name: image files


@dataclass(frozen=True)
class Images:
    """Folders of images, one folder per class in each: what the network first learns, and what the board sees."""

    first: Path  # with train/ and test/: makes a run
    learn: Path  # trained on before the sensor changes
    test: Path
    tune: Path  # as the new sensor sees other images
    tune_test: Path  # the images of `test` as the new sensor sees them


@dataclass(frozen=True)
class PerClass:
    """How many images of each class a part takes."""

    first: int
    learn: int
    tune: int
    test: int


def make_images(root: Path, work: Path, per_class: PerClass, seed: int) -> Images:
    """Link and write all parts below `work`. The test parts come from `root/test` where `root/train` is beside it.

    Exits with one line where a class has too few images.
    """
    rng = np.random.default_rng([seed, 0xB0])
    whole = (root / "train").is_dir() and (root / "test").is_dir()
    train = shuffled(listed(root / "train" if whole else root), rng)
    held = shuffled(listed(root / "test"), rng) if whole else train
    # The parts of the comparison come first, so that they are the same however much a network learnt from before.
    start = per_class.tune if whole else per_class.tune + per_class.test
    parts = {
        "tune": taken(train, 0, per_class.tune),
        "test": taken(held, 0 if whole else per_class.tune, per_class.test),
        "learn": taken(train, start, per_class.learn),
        "first/train": taken(train, start, min(per_class.first, per_class.learn)),
    }
    parts["first/test"] = parts["test"]
    for name in ("learn", "first/train", "first/test", "test"):
        link(parts[name], work / name)
    shift(parts["tune"], work / "tune", SENSOR, seed)
    shift(parts["test"], work / "tune_test", SENSOR, seed + 1)
    return Images(work / "first", work / "learn", work / "test", work / "tune", work / "tune_test")


def listed(folder: Path) -> Part:
    """The image files of each class folder, sorted by name."""
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
    found = {entry.name: sorted(file for file in entry.iterdir() if file.suffix in SUFFIXES) for entry in classes}
    if len(found) < 2:
        sys.exit(f"--images {folder}: {len(found)} class folders; give a folder with one folder of images per class")
    return found


def shuffled(part: Part, rng: np.random.Generator) -> Part:
    """The same files in an order drawn by `rng`."""
    return {name: [files[i] for i in rng.permutation(len(files))] for name, files in part.items()}


def taken(part: Mapping[str, list[Path]], start: int, count: int) -> Part:
    """`count` files of each class from `start` on."""
    for name, files in part.items():
        if len(files) < start + count:
            sys.exit(f"--images: class {name} has {len(files)} images, {start + count} are needed; try --quick")
    return {name: files[start : start + count] for name, files in part.items()}


def link(part: Part, folder: Path) -> None:
    """A folder of links to the files, which keep their names."""
    for name, files in part.items():
        (folder / name).mkdir(parents=True)
        for file in files:
            (folder / name / file.name).symlink_to(file.resolve())


def shift(part: Part, folder: Path, sensor: Sensor, seed: int) -> None:
    """Write the images as `sensor` sees them, as PNG."""
    for label, (name, files) in enumerate(part.items()):
        (folder / name).mkdir(parents=True)
        for index, file in enumerate(files):
            with Image.open(file) as image:
                pixels = np.asarray(image if image.mode == "L" else image.convert("RGB"))
            planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
            seen = sensor.see(planes, seed * 1_000_003 + label * 10_007 + index)
            Image.fromarray(seen[0] if pixels.ndim == 2 else np.ascontiguousarray(seen.transpose(1, 2, 0))).save(
                folder / name / f"{file.stem}.png"
            )
