"""The signals of the sensors demo: the smartwatch on the left wrist, as npz files.

`python -m mest.demo.wrist --out DIR --seed N` writes them and prints one JSON object.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mest.demo.samples import Sample, one_of_each, write
from mest.packaged import DATA_SETS

LEFT = Path(__file__).with_name("left_wrist.npz")
LEARN, TEST, SAMPLES = "left_wrist.npz", "left_wrist_test.npz", "samples.npz"


def make_material(folder: Path, seed: int, samples: int = 10) -> tuple[Path, ...]:
    """Write the left wrist's windows into a folder, and return the paths.

    The test part has the two people whom no training part has, on either wrist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with np.load(LEFT, allow_pickle=False) as left:
        inputs, labels, names, test = (left[name] for name in ("inputs", "labels", "class_names", "test"))
    chosen = one_of_each(np.flatnonzero(test), labels, samples, seed)
    for name, part in ((LEARN, ~test), (TEST, test), (SAMPLES, chosen)):
        np.savez(folder / name, inputs=inputs[part], labels=labels[part], class_names=names)
    return folder / LEARN, folder / TEST, folder / SAMPLES


def looked_at(samples: int) -> tuple[str, ...]:
    """The names of the files to look at: one has all the windows."""
    return (SAMPLES,)


def drawn(folder: Path, seed: int, samples: int = 10) -> tuple[Sample, ...]:
    """The samples that `make_material` wrote into a folder, each beside the same exercise on the right wrist."""
    with np.load(DATA_SETS["watch"], allow_pickle=False) as right:
        learnt, classes, test = (right[name] for name in ("inputs", "labels", "test"))
    with np.load(folder / SAMPLES, allow_pickle=False) as left:
        inputs, labels, names = (left[name] for name in ("inputs", "labels", "class_names"))
    beside = one_of_each(np.flatnonzero(test), classes, samples, seed)  # in the same order of classes
    return tuple(
        Sample(str(names[label]), learnt[index], window)
        for label, index, window in zip(labels, beside, inputs, strict=True)
    )


if __name__ == "__main__":
    write("Write the signals of the sensors demo.", "mest.demo.wrist", make_material)
