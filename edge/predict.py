"""Classes and scores for image files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.budget import memory_errors
from edge.data import DECODER_CODE_BYTES, read_image
from edge.errors import InputError
from edge.plan.memory import DataNeeds
from edge.session import Board, Session, open_for_inference


@dataclass(frozen=True)
class Prediction:
    """The classes of one image, likeliest first, with their scores (softmax of the logits)."""

    image: str
    classes: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class PredictResult:
    """Predictions with the memory that they took."""

    predictions: tuple[Prediction, ...]
    engine: str
    engine_reason: str
    budget_bytes: int | None
    planned_peak_bytes: int
    measured_peak_bytes: int | None
    baseline_bytes: int | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            **self.__dict__,
            "predictions": [
                {
                    "image": prediction.image,
                    "class": prediction.classes[0][0],
                    "score": prediction.classes[0][1],
                    "classes": [{"class": name, "score": score} for name, score in prediction.classes],
                }
                for prediction in self.predictions
            ],
        }


def scores(logits: np.ndarray) -> np.ndarray:
    """Softmax of logits `(n, classes)`, row by row."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: np.ndarray = shifted / shifted.sum(axis=1, keepdims=True)
    return result


def predict_files(
    path: Path,
    images: Sequence[Path],
    engine: str = "auto",
    budget_bytes: int | None = None,
    threads: int = 1,
    top: int = 5,
) -> PredictResult:
    """Classes of image files by an artifact or a state, in pieces that fit the budget."""
    if not images:
        raise InputError("no images were given; name at least one file")
    board = Board()
    with open_for_inference(board, path, engine, budget_bytes, threads, _needs(images), len(images)) as session:
        found: list[Prediction] = []
        size = session.plan.choices.micro_batch
        batch = np.empty((size, *session.artifact.shape), np.float32)
        with memory_errors("predicting"):
            for start in range(0, len(images), size):
                piece = images[start : start + size]
                for row, image in enumerate(piece):
                    _load(session, image, batch[row])
                found += _named(session, piece, scores(session.engine.predict(batch[: len(piece)])), top)
                session.check()
        return PredictResult(
            predictions=tuple(found),
            engine=session.plan.engine,
            engine_reason=session.why,
            budget_bytes=budget_bytes,
            planned_peak_bytes=session.plan.peak_bytes,
            measured_peak_bytes=session.meter.peak,
            baseline_bytes=session.baseline_bytes,
        )


def _needs(images: Sequence[Path]) -> DataNeeds:
    from PIL import Image

    largest = 0
    for path in images:
        try:
            with Image.open(path) as image:
                largest = max(largest, image.size[0] * image.size[1] * 8)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except (OSError, SyntaxError, Image.DecompressionBombError):
            continue  # named when it is read
    return DataNeeds(decoder_bytes=largest + DECODER_CODE_BYTES)


def _load(session: Session, path: Path, out: np.ndarray) -> None:
    preprocess = session.artifact.preprocess
    pixels = read_image(path, preprocess)
    if pixels.transpose(2, 0, 1).shape != out.shape:
        raise InputError(
            f"{path}: {pixels.shape[0]}x{pixels.shape[1]} after preprocessing, the network takes "
            f"{out.shape[1]}x{out.shape[2]}"
        )
    preprocess.normalise(pixels, out)


def _named(session: Session, images: Sequence[Path], rows: np.ndarray, top: int) -> list[Prediction]:
    names = session.artifact.class_names
    return [
        Prediction(str(image), tuple((names[i], float(row[i])) for i in np.argsort(-row, kind="stable")[:top]))
        for image, row in zip(images, rows, strict=True)
    ]
