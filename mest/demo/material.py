"""The images of the digits demo: digits as the new sensor sees them, as npz files and as pictures to look at.

`python -m mest.demo.material --out DIR --seed N` writes them and prints one JSON object.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from mest.demo.samples import Sample, one_of_each, write
from mest.demo.sensor import Sensor
from mest.packaged import DATA_SETS

LEARN, TEST = "new_sensor.npz", "new_sensor_test.npz"


def make_material(folder: Path, seed: int, samples: int = 10) -> tuple[Path, ...]:
    """Write the new sensor's npz files and sample images into a folder, and return their paths.

    The fixed test part of the digits stays the test part; no run has trained on it, on either sensor.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with np.load(DATA_SETS["digits"], allow_pickle=False) as digits:
        images, labels, names, test = (digits[name] for name in ("images", "labels", "class_names", "test"))
    seen = Sensor().see(images, seed)
    for path, part in ((folder / LEARN, ~test), (folder / TEST, test)):
        np.savez(path, images=seen[part], labels=labels[part], class_names=names)
    pictures = [folder / name for name in looked_at(samples)]
    for index, picture in zip(one_of_each(np.flatnonzero(test), labels, samples, seed), pictures, strict=True):
        Image.fromarray(seen[index]).save(picture)
    return folder / LEARN, folder / TEST, *pictures


def looked_at(samples: int) -> tuple[str, ...]:
    """The names of the files to look at."""
    return tuple(f"sample_{place}.png" for place in range(samples))


def drawn(folder: Path, seed: int, samples: int = 10) -> tuple[Sample, ...]:
    """The samples that `make_material` wrote into a folder, beside what the old sensor sees."""
    with np.load(DATA_SETS["digits"], allow_pickle=False) as digits:
        images, labels, names, test = (digits[name] for name in ("images", "labels", "class_names", "test"))
    chosen = one_of_each(np.flatnonzero(test), labels, samples, seed)
    files = [folder / name for name in looked_at(samples)]
    return tuple(
        Sample(str(names[labels[index]]), images[index], np.asarray(Image.open(file)))
        for index, file in zip(chosen, files, strict=True)
    )


if __name__ == "__main__":
    write("Write the images of the digits demo.", "mest.demo.material", make_material)
