"""What a run was and what it came to: the content of run.json and summary.json, and its ranking."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mest.ranking.ranking import Provenance, write_ranking
from mest.sparse import Sparsifier
from mest.sparse.accounting import MethodBytes, peak_bytes, peak_bytes_by_method, training_flops
from mest.train.epoch import Score
from mest.train.metrics import finite, named_scores
from mest.train.session import Session


def describe_layers(sparsifier: Sparsifier) -> list[dict[str, Any]]:
    """Return name, scheme, height (blocks alone), shape, target and achieved weight sparsity of every sparse layer."""
    return [
        {
            "name": layer.name,
            "scheme": layer.scheme.name,
            "height": getattr(layer.scheme, "height", None),
            "shape": list(layer.shape),
            "target_sparsity": layer.target_sparsity,
            "sparsity": layer.sparsity,
            "nonzeros": layer.kept_weights,
        }
        for layer in sparsifier.layers()
    ]


def describe_run(
    session: Session, remark: str | None, options: dict[str, str], result: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the content of run.json; `result` is the summary of a finished run."""
    data = session.data
    return {
        "config": session.config.as_dict(),
        "options": options,
        "remark": remark,
        "model": session.spec.as_dict(),
        "data": {
            "name": data.name,
            "checksum": data.checksum,
            **{f"{part}_images": count for part, count in _counts(session).items() if part != "skipped"},
        },
        "preprocess": data.preprocess.as_dict(),
        "class_names": list(data.class_names),
        "layers": describe_layers(session.sparsifier),
        "dense_layers": session.sparsifier.dense,
        "started_from": session.origin.as_dict() if session.origin else None,
        "tools": {"python": sys.version.split()[0], "torch": str(torch.__version__), "numpy": np.__version__},
        "result": result,
    }


def _counts(session: Session) -> dict[str, int]:
    """How many images each part has, and how many were left out because they cannot be read."""
    data, validation = session.data, len(session.validation)
    return {
        "training": len(data.train) - validation,
        "validation": validation,
        "test": len(data.test),
        "skipped": data.skipped,
    }


def save_ranking(path: Path, session: Session, options: dict[str, str]) -> None:
    """Write the ranking of the training images by what the run forgot, and what made it."""
    made_from = Provenance(
        dataset=session.data.name,
        samples=len(session.data.train),
        checksum=session.data.checksum,
        command=shlex.join(["mest", "train", *(f"--{key}={value}" for key, value in sorted(options.items()))]),
        seed=session.config.seed,
        model=session.config.model,
        epochs=session.epoch,
        unseen=session.samples.unseen,
    )
    write_ranking(path, session.samples.ranking(made_from))


def summarise(session: Session, run: Path, best: Score, last: Score, best_epoch: int) -> dict[str, Any]:
    """Return the content of summary.json; `best` and `last` are scores on the test images."""
    return {
        "run": str(run),
        "epochs": session.epoch,
        "method": session.config.sparse.method,
        **_scores(session, best, last),
        "best_epoch": best_epoch,
        **_validated(session),
        "sparsity": session.sparsifier.sparsity,
        **_memory(session),
        "training_flops": _flops(session),
        "samples": session.samples.summary(),
        "images": _counts(session),
        "seconds": round(sum(record.seconds for record in session.history), 3),
    }


def _scores(session: Session, best: Score, last: Score) -> dict[str, Any]:
    """The test's scores: accuracies, or the metrics of another task by its name."""
    task = session.config.data.task
    if task.of_classes:
        return {"accuracy": best.judged, "loss": finite(best.loss), "accuracy_last": last.judged}
    return {
        **named_scores(task, best.values),
        "loss": finite(best.loss),
        "metric_last": last.judged,
    }


def _validated(session: Session) -> dict[str, Any]:
    name = "validation_accuracy" if session.config.data.task.of_classes else "validation_metric"
    return {name: session.best.accuracy if session.best and len(session.validation) else None}


def _memory(session: Session) -> dict[str, Any]:
    """Bytes at the peak of every method for this run's targets, this run's own with its bounds, and their parts."""
    config, sparsifier = session.config, session.sparsifier
    floats = {"sgd": 1 if config.optimizer.momentum else 0}.get(config.optimizer.kind, 2)
    parts: dict[str, MethodBytes] = {}
    if not sparsifier.schedule.dense:
        parts = peak_bytes_by_method(
            session.model, sparsifier.targets, sparsifier.schedule.epochs, optimizer_state=floats
        )
    own = peak_bytes(session.model, sparsifier.targets, sparsifier.schedule, optimizer_state=floats)
    parts[own.method] = own
    return {
        "peak_bytes": {name: each.total for name, each in parts.items()},
        "peak_parts": {name: vars(each) for name, each in parts.items()},
        "weight_bytes": own.weights,
        "dense_weight_bytes": 4 * sum(parameter.numel() for parameter in session.model.parameters()),
    }


def _flops(session: Session) -> dict[str, float]:
    """Multiply-adds × 2 for one sample, averaged over the run, against dense."""
    device = next(session.model.parameters()).device
    sample = torch.zeros(1, *session.spec.input, device=device)
    steps = -(-len(session.samples.training) // session.config.optimizer.batch_size)
    sparsifier = session.sparsifier
    flops = training_flops(
        session.model, sparsifier.targets, sparsifier.schedule, sample, steps_per_epoch=steps
    )  # fmt: skip
    return {"per_sample": flops.per_sample, "dense_per_sample": flops.dense_per_sample, "share": flops.share}
