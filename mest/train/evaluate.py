"""The accuracy of a run on any data that its model takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mest.data import DataSet, DataSpec, Preprocess, open_data
from mest.data.augment import Augment
from mest.data.dataset import data_name
from mest.data.images import Images
from mest.data.loader import Samples, load_batches, ordered_batches
from mest.errors import InputError
from mest.train.epoch import evaluate
from mest.train.metrics import finite
from mest.train.process import choose_device
from mest.train.run import LoadedRun, load_run, read_run


def evaluate_run(
    run: str | Path,
    data: str | DataSpec | None = None,
    which: str = "best",
    *,
    part: str = "test",
    batch_size: int = 256,
    workers: int = 0,
    device: str = "auto",
) -> dict[str, Any]:
    """Return accuracy and mean cross-entropy of a run's `best` or `last` checkpoint on the `test` or `train` images.

    Without `data` on those that the run was trained with, read from where its options say.
    The images are prepared as the run's own were; their classes must be the run's. Keys: run, checkpoint, epoch, data,
    images, accuracy, loss, sparsity (zeros ÷ weights over the sparse layers).
    Raises InputError for data that do not fit, DamagedError for a damaged run.
    """
    loaded = load_run(run, which)
    if data is None:
        data = _own_data(loaded)
    spec = DataSpec(data_name(data), image_size=_image_size(loaded)) if isinstance(data, str) else data
    opened = open_data(spec, max(1, workers))
    if part not in ("test", "train"):
        raise InputError(f"part {part!r}: allowed are test and train")
    images = opened.test if part == "test" else opened.train
    _refuse_unfit(loaded, opened, images)
    place = choose_device(device)
    indices = ordered_batches(np.arange(len(images), dtype=np.int64), batch_size)
    batches = load_batches(Samples(images, Augment()), indices, workers, pin=False)
    score = evaluate(loaded.model.to(place), batches, Preprocess.from_dict(loaded.preprocess), place)
    weights = sum(mask.numel() for mask in loaded.masks.values())
    kept = sum(int(mask.sum()) for mask in loaded.masks.values())
    return {
        "run": str(loaded.path),
        "checkpoint": which,
        "epoch": loaded.epoch - 1,
        "data": opened.name,
        "images": score.count,
        "accuracy": score.accuracy,
        "loss": finite(score.loss),
        "sparsity": 1 - kept / weights if weights else 0.0,
    }


def _own_data(run: LoadedRun) -> DataSpec:
    options = read_run(run.path)["options"]
    name, folder = data_name(options.get("data", "digits")), Path(options.get("data-dir", "data"))
    return DataSpec(name, folder, image_size=_image_size(run))


def _image_size(run: LoadedRun) -> int | tuple[int, int] | None:
    """The --image-size with which the run's own images were read."""
    resize = run.preprocess["resize"]
    return (resize[0], resize[1]) if isinstance(resize, list) else resize


def _refuse_unfit(run: LoadedRun, data: DataSet, images: Images) -> None:
    if list(data.class_names) != run.class_names:
        raise InputError(
            f"--data {data.name}: {len(data.class_names)} classes ({', '.join(data.class_names[:3])}, ...), the run "
            f"has {len(run.class_names)} ({', '.join(run.class_names[:3])}, ...); give data of the same classes"
        )
    if images.shape != run.spec.input:
        given, wanted = ("x".join(map(str, shape)) for shape in (images.shape, run.spec.input))
        raise InputError(f"--data {data.name}: images of {given} where the run takes {wanted}")
