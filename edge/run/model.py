"""The small Python API: an artifact or a state, loaded under a budget, for one's own arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np

from edge.data.image import read_image
from edge.engines.engine import Engine, MutationResult, StepResult
from edge.errors import InputError
from edge.files.lock import holding
from edge.handover.artifact import open_artifact
from edge.handover.state import write_state
from edge.host.limits import memory_errors, parse_size
from edge.plan.choices import OptimizerChoice
from edge.plan.norms import lone_in_step, lone_refusal
from edge.plan.process import MemoryPlan
from edge.plan.search import Request
from edge.ranges import check_ranges
from edge.run.needs import data_needs
from edge.run.predict import Prediction, array_needs, array_pixels, predictions
from edge.run.rate import MUTATIONS, densest_sparsity, mutation_bounds
from edge.run.session import Board, Session


class Model:
    """A network that predicts and trains within its plan. A context manager; `close` gives memory and limits back.

    Threads may share it: whatever needs the engine is done for one of them at a time, the others wait. Once it is
    closed, all of that raises ClosedError.
    """

    def __init__(self, session: Session, mutate: str, exact: bool = False) -> None:
        self._session = session
        self._mutate = mutate
        self._exact = exact
        self._steps = 0
        self._lock = RLock()

    @contextmanager
    def _alone(self) -> Iterator[Engine]:
        """The engine, for this thread alone: its arena holds one step, whoever asks for it."""
        with self._lock:
            yield self._session.engine

    @property
    def plan(self) -> MemoryPlan:
        """What the process was going to hold, and the choices that make it so."""
        return self._session.plan

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return self._session.artifact.class_names

    @property
    def peak_bytes(self) -> int | None:
        """The most bytes that were ever resident in this process; None where the figure cannot be trusted."""
        return self._session.meter.peak

    @property
    def sparsity(self) -> float:
        """Zeros over weights of the sparse layers."""
        with self._alone():
            return self._session.sparsity

    @property
    def zeros_kept(self) -> bool:
        """True if every weight outside the mask is exactly zero."""
        with self._alone() as engine:
            return engine.zeros_kept()

    def classify(self, images: Iterable[np.ndarray | str | Path], top: int = 5) -> list[Prediction]:
        """The likeliest classes of each image with their scores, prepared as the artifact says.

        An image is a camera's uint8 array `(h, w)`, `(h, w, 1)` or RGB `(h, w, 3)` of any size, or a file's path. Of
        arrays that are not the network's size, give the largest to `load`, so that it is planned for. A model that
        takes windows or vectors gets uint8, int16 or float32 arrays of its input's shape. Raises InputError for an
        image that cannot be read.
        """
        preprocess = self._session.artifact.preprocess

        def pixels() -> Iterator[tuple[str, np.ndarray]]:
            for number, image in enumerate(images):
                if isinstance(image, np.ndarray):
                    yield f"image {number}", array_pixels(image, preprocess)
                elif isinstance(image, (str, Path)) and preprocess.takes_images:
                    yield str(image), read_image(Path(image), preprocess)
                else:
                    allowed = "uint8 arrays or paths" if preprocess.takes_images else "arrays of its input's shape"
                    raise InputError(f"image {number} is a {type(image).__name__}: give {allowed}")

        if top < 1:
            raise InputError(f"top {top}: must be 1 or more")
        with self._alone(), memory_errors("classifying"):
            return predictions(self._session, pixels(), self.plan.choices.micro_batch, top)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Logits `(n, classes)` of normalised float32 images `(n, c, h, w)`, any n; raw pixels go to `classify`.

        Of another task than classification, its answers in their own shape.

        A model that takes windows or vectors gets `(n, c, l)` or `(n, f)`.
        """
        images = self._checked(images)
        with self._alone() as engine:
            with memory_errors("predicting"):
                logits = engine.predict(images)
            self._session.check()
        return logits

    def train_step(self, images: np.ndarray, labels: np.ndarray | None, learning_rate: float) -> StepResult:
        """One optimizer step over up to `plan.choices.batch_size` samples; BudgetError when the budget is hit.

        Labels are class numbers `(n,)`, or what the artifact's task has in their place: 0 or 1 for each label, numbers,
        masks, None of an autoencoder.

        A single sample may leave a batch norm one value a channel: it is frozen for that step, and the result names it.
        InputError where the engine cannot do that, or the request was exact.
        """
        images, network = self._checked(images), self._session.artifact.network
        task, output = network.task, network.output
        labels = np.zeros((len(images), 0)) if labels is None else np.asarray(labels)
        labels = np.asarray(labels, task.dtype)
        check_ranges({"learning_rate": learning_rate})
        most = self.plan.choices.batch_size
        if not 0 < len(images) <= most or labels.shape != (len(images), *task.target(output)):
            needed = "of both" if task.of_classes else f"images and {task.each(output)}"
            raise InputError(f"images {images.shape}, labels {labels.shape}: needed are 1 to {most} {needed}")
        if task.of_classes and (labels.min() < 0 or labels.max() >= len(self.class_names)):
            raise InputError(f"labels {labels.min()} to {labels.max()}: allowed are 0 to {len(self.class_names) - 1}")
        if problem := task.wrong(labels, output):
            raise InputError(problem)
        lone = lone_in_step(self._session.artifact.network, self.plan.choices, len(images))
        if lone and (self._exact or not self._session.freezes_norms):
            why = "the request was exact" if self._exact else "this engine cannot freeze them for a step"
            raise InputError(f"{len(images)} images: {lone_refusal(lone, self.plan.choices, why)}")
        with self._alone() as engine:
            with memory_errors(f"step {self._steps + 1}"):
                result = engine.train_step(images, labels, learning_rate)
            self._steps += 1
            self._session.check()
        return replace(result, frozen_norms=lone)

    def mutate(self, progress: float, seed: int = 0) -> MutationResult:
        """Prune and grow as the method given to `load` does at a progress from 0 to 1 of the run."""
        if self._mutate == "none":
            raise InputError("load the model with mutate='em' or mutate='ems', so that room for it is planned")
        check_ranges({"progress": progress, "seed": seed})
        targets = self._session.artifact.mutation_targets(self.plan.choices.trainable)
        bounds = mutation_bounds(self._mutate, targets, progress)
        with self._alone() as engine:
            with memory_errors("mutating"):
                result = engine.mutate(bounds.prune_to, bounds.grow_to, seed)
            self._session.check()
        return result

    def save(self, state: str | Path, facts: Mapping[str, Any] | None = None) -> None:
        """Write a state directory, durably and whole, that `load`, `mest predict` and `mest export` read."""
        artifact, plan = self._session.artifact, self.plan
        with self._alone() as engine, memory_errors("saving"):
            described = {
                **(facts or {}),
                "artifact": artifact.identity(plan.engine),
                "engine": plan.engine,
                "choices": asdict(plan.choices),
                "class_names": list(artifact.class_names),
                "steps": self._steps,
            }
            with holding(Path(state)):
                write_state(Path(state), described, engine.snapshot())

    def _checked(self, images: np.ndarray) -> np.ndarray:
        if np.asarray(images).dtype.kind != "f":
            raise InputError(
                f"images {np.asarray(images).dtype}: needed are floats, normalised as the manifest's preprocess says; "
                "give raw pixels to classify"
            )
        images = np.ascontiguousarray(images, np.float32)
        artifact = self._session.artifact
        if images.shape[1:] not in (artifact.shape, artifact.manifest.input):
            raise InputError(f"images {images.shape}: needed is (n, {', '.join(map(str, artifact.manifest.input))})")
        return images.reshape(len(images), *artifact.shape)

    def close(self) -> None:
        """Close the engine and lift the limits, once no other thread is in the midst of a step."""
        with self._lock:
            self._session.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load(
    path: str | Path,
    memory_budget: str | int | None = None,
    engine: str = "auto",
    request: Request | None = None,
    optimizer: OptimizerChoice | None = None,
    mutate: str = "none",
    largest_image: tuple[int, int] | None = None,
) -> Model:
    """An artifact, or a state with its weights, opened under a budget ("64MiB" or bytes) of the whole process.

    `request` pins parts of the plan; its optimizer and label smoothing are those of the artifact unless `optimizer` is
    given. `largest_image` is the largest (height, width) that `classify` is going to prepare. Raises BudgetError if
    nothing fits, InputError or DamagedError for what cannot be opened.
    """
    if mutate not in MUTATIONS:
        raise InputError(f"mutate {mutate!r}: allowed are {', '.join(MUTATIONS)}")
    board = Board()
    artifact = open_artifact(Path(path))
    asked = replace(
        request or Request(),
        optimizer=optimizer or artifact.optimizer,
        label_smoothing=artifact.manifest.label_smoothing,
        densest_sparsity=densest_sparsity(mutate, artifact.mutation_targets(method=mutate)),
    )
    asked = replace(asked, last_batch=asked.last_batch or asked.batch_size - 1)  # steps may take any number
    budget = parse_size(memory_budget) if isinstance(memory_budget, str) else memory_budget
    if largest_image is not None and not artifact.preprocess.takes_images:
        raise InputError(f"largest_image {largest_image}: the model takes windows or vectors of numbers; leave it out")
    decoder = 0 if largest_image is None else array_needs(largest_image, artifact.preprocess)
    data = data_needs(artifact, decoder_bytes=decoder)
    return Model(Session(board, artifact, engine, asked, data, budget), mutate, asked.exact)
