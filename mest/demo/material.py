"""The demo's images: digits as the new sensor sees them, as npz files and as pictures to look at.

`python -m mest.demo.material --out DIR --seed N` writes them and prints one JSON object.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mest.demo.sensor import Images, Sensor

DIGITS = Path(__file__).parents[1] / "data" / "digits.npz"
PICTURE_SIDE = 64


@dataclass(frozen=True)
class Sample:
    """One held-out digit: what it is, as the old and as the new sensor see it, uint8 `(h, w)`."""

    label: str
    old: Images
    new: Images
    file: Path  # the new sensor's image


@dataclass(frozen=True)
class Material:
    """Files of the new sensor's images to learn from and to test on, and a few samples to look at."""

    learn: Path
    test: Path
    samples: tuple[Sample, ...]


def make_material(folder: Path, sensor: Sensor, seed: int, samples: int = 10) -> Material:
    """Write the new sensor's npz files and sample images into a folder.

    The fixed test part of the digits stays the test part; no run has trained on it, on either sensor.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with np.load(DIGITS, allow_pickle=False) as digits:
        images, labels, names, test = (digits[name] for name in ("images", "labels", "class_names", "test"))
    seen = sensor.see(images, seed)
    learn, held = folder / "new_sensor.npz", folder / "new_sensor_test.npz"
    for path, part in ((learn, ~test), (held, test)):
        np.savez(path, images=seen[part], labels=labels[part], class_names=names)
    chosen = _one_of_each(np.flatnonzero(test), labels, samples, seed)
    return Material(learn, held, tuple(_samples(folder, chosen, images, seen, [str(names[labels[i]]) for i in chosen])))


def drawn(folder: Path, seed: int, samples: int = 10) -> tuple[Sample, ...]:
    """The samples that `make_material` wrote into a folder, to look at beside the old sensor's."""
    with np.load(DIGITS, allow_pickle=False) as digits:
        images, labels, names, test = (digits[name] for name in ("images", "labels", "class_names", "test"))
    chosen = _one_of_each(np.flatnonzero(test), labels, samples, seed)
    files = [folder / f"sample_{place}.png" for place in range(samples)]
    return tuple(
        Sample(str(names[labels[index]]), images[index], np.asarray(Image.open(file)), file)
        for index, file in zip(chosen, files, strict=True)
    )


def _one_of_each(pool: np.ndarray, labels: np.ndarray, count: int, seed: int) -> list[int]:
    """Indices of the pool, class by class in turn, drawn by seed."""
    order = np.random.default_rng([seed, 0x5A]).permutation(pool)
    classes = np.unique(labels)
    ranked = {label: [int(i) for i in order if labels[i] == label] for label in classes}
    return [ranked[classes[k % len(classes)]][k // len(classes)] for k in range(count)]


def _samples(folder: Path, chosen: list[int], old: Images, new: Images, labels: list[str]) -> Iterable[Sample]:
    for place, (index, label) in enumerate(zip(chosen, labels, strict=True)):
        file = folder / f"sample_{place}.png"
        Image.fromarray(new[index]).save(file)
        yield Sample(label, old[index], new[index], file)


def picture(pixels: Images) -> bytes:
    """Return a PNG of `(h, w)` pixels, enlarged without smoothing."""
    height, width = pixels.shape
    scale = max(1, PICTURE_SIDE // max(height, width))
    file = io.BytesIO()
    Image.fromarray(pixels).resize((width * scale, height * scale), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


def main() -> None:
    """Write the images that the options ask for."""
    parser = argparse.ArgumentParser(prog="python -m mest.demo.material", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    made = make_material(given.out, Sensor(), given.seed, given.samples)
    files = [str(made.learn), str(made.test), *(str(sample.file) for sample in made.samples)]
    sys.stdout.write(json.dumps({"files": files}) + "\n")


if __name__ == "__main__":
    main()
