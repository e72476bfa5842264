"""What a run came to, in numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mest.sparse import Sparsifier
from mest.train.epoch import Score
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


def summarise(session: Session, run: Path, best: Score, last: Score, best_epoch: int) -> dict[str, Any]:
    """Return the content of summary.json; `best` and `last` are scores on the test images."""
    return {
        "run": str(run),
        "epochs": session.epoch,
        "method": session.config.sparse.method,
        "accuracy": best.accuracy,
        "loss": best.loss,
        "accuracy_last": last.accuracy,
        "best_epoch": best_epoch,
        "validation_accuracy": session.best.accuracy if session.best and len(session.validation) else None,
        "sparsity": session.sparsifier.sparsity,
        "samples": session.samples.summary(),
        "seconds": round(sum(record.seconds for record in session.history), 3),
    }
