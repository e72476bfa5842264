"""The accuracy of a run on any data that its model takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mest.data import DataSpec, Preprocess, open_data
from mest.data.augment import Augment
from mest.data.dataset import data_name
from mest.data.labelled import Labelled, composed, open_labelled
from mest.data.loader import Samples, load_batches, ordered_batches
from mest.errors import InputError
from mest.train.epoch import evaluate
from mest.train.metrics import finite, named_scores
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
    unreadable: str = "refuse",
    say: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Return accuracy and mean cross-entropy of a run's `best` or `last` checkpoint on the `test` or `train` images.

    Of `data` every image counts, or those that they keep for testing, as on the board; `part` "train" means the images
    that `mest train` would train on. Without `data` they are those that the run was trained with, read from where its
    options say. The images are prepared as the run's own were; their classes must be among the run's.
    Keys: run, checkpoint, epoch, data, images, samples (the same number), skipped (images that could not be read),
    accuracy, loss, sparsity (zeros ÷ weights over the sparse layers). A run of another task than classification has
    metric, metric_name and metrics in the place of accuracy.
    Raises InputError for data that do not fit, DamagedError for a damaged run.
    """
    loaded = load_run(run, which)
    if part not in ("test", "train"):
        raise InputError(f"part {part!r}: allowed are test and train")
    found, name = _images(loaded, data, part, max(1, workers), unreadable)
    for note in found.notes:
        say(note)
    images = found.images
    if images.shape != loaded.spec.input:
        given, wanted = ("x".join(map(str, shape)) for shape in (images.shape, loaded.spec.input))
        raise InputError(f"--data {name}: images of {given} where the run takes {wanted}")
    place = choose_device(device)
    indices = ordered_batches(np.arange(len(images), dtype=np.int64), batch_size)
    batches = load_batches(Samples(images, Augment()), indices, workers, pin=False)
    task = loaded.spec.task
    prepared = Preprocess.from_dict(loaded.preprocess)
    score = evaluate(loaded.model.to(place), batches, prepared, place, task=task)
    weights = sum(mask.numel() for mask in loaded.masks.values())
    kept = sum(int(mask.sum()) for mask in loaded.masks.values())
    return {
        "run": str(loaded.path),
        "checkpoint": which,
        "epoch": loaded.epoch - 1,
        "data": name,
        "images": score.count,
        "samples": score.count,
        "skipped": found.skipped,
        **({"accuracy": score.judged} if task.of_classes else named_scores(task, score.values)),
        "loss": finite(score.loss),
        "sparsity": 1 - kept / weights if weights else 0.0,
    }


def _images(
    run: LoadedRun, data: str | DataSpec | None, part: str, threads: int, unreadable: str
) -> tuple[Labelled, str]:
    """The images that are asked for, prepared as the run's own, and the name of the data."""
    preprocess = Preprocess.from_dict(run.preprocess).leading_to(*run.spec.input[1:])
    task = run.spec.task
    if isinstance(data, DataSpec):
        spec = replace(data, task=task)
    elif data is not None:
        spec = DataSpec(data_name(data), unreadable=unreadable, task=task)
    else:
        options = read_run(run.path)["options"]
        folder = Path(options.get("data-dir", "data"))
        spec = DataSpec(data_name(options.get("data", "digits")), folder, unreadable=unreadable, task=task)
    if data is not None and part == "test":
        return open_labelled(spec, preprocess, run.class_names, threads), spec.name
    opened = open_data(spec, threads, like=preprocess)
    if [composed(name) for name in opened.class_names] != [composed(name) for name in run.class_names]:
        raise InputError(
            f"--data {opened.name}: {len(opened.class_names)} classes ({', '.join(opened.class_names[:3])}, ...), the "
            f"run has {len(run.class_names)} ({', '.join(run.class_names[:3])}, ...); give data of the same classes"
        )
    return Labelled(opened.test if part == "test" else opened.train, opened.skipped, opened.notes), spec.name
