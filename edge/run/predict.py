"""Classes and scores for images: files, what comes through a pipe, arrays of pixels or of other numbers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from edge.data.batches import other_size
from edge.data.image import DECODER_CODE_BYTES, decoding_bytes, read_image, unreadable_image
from edge.data.npz import NpzInputs, numbers_of, odd_numbers
from edge.data.photo import Header, read_header
from edge.data.preprocess import Preprocess
from edge.errors import InputError
from edge.handover.artifact import Artifact, open_artifact
from edge.host.limits import memory_errors
from edge.run.finite import refuse_not_finite
from edge.run.measured import Measured, measured
from edge.run.needs import data_needs
from edge.run.session import Board, Session, open_for_inference
from edge.tasks.task import Task

STANDARD_INPUT = "-"
_MOST_PIPED_BYTES = 256 << 20


@dataclass(frozen=True)
class Prediction:
    """The classes of one image, likeliest first, with their scores (softmax of the logits).

    Of another task than classification there are none, and `answer` has what it says in their place, as plain JSON.
    """

    image: str
    classes: tuple[tuple[str, float], ...] = ()
    answer: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        if self.answer is not None:
            return {"image": self.image, **self.answer}
        return {
            "image": self.image,
            "class": self.classes[0][0],
            "score": self.classes[0][1],
            "classes": [{"class": name, "score": score} for name, score in self.classes],
        }


@dataclass(frozen=True)
class Unread:
    """An image that has no prediction, and why."""

    image: str
    error: str


@dataclass(frozen=True, kw_only=True)
class PredictResult(Measured):
    """Predictions with the memory that they took; `unread` are the images that could not be read."""

    task: Task
    predictions: tuple[Prediction, ...]
    unread: tuple[Unread, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `exit_code` is 2 where an image could not be read."""
        facts = {name: value for name, value in vars(self).items() if name != "task"}
        return {
            **({} if self.task.of_classes else {"task": self.task.name}),
            **facts,
            "predictions": [prediction.to_json() for prediction in self.predictions],
            "unread": [vars(unread) for unread in self.unread],
            "exit_code": InputError.exit_code if self.unread else 0,
        }


def predict_files(
    path: Path,
    images: Sequence[Path | str],
    engine: str = "auto",
    budget_bytes: int | None = None,
    threads: int = 1,
    top: int = 5,
    say: Callable[[str], None] = lambda message: None,
) -> PredictResult:
    """Classes of image files by an artifact or a state, in pieces that fit the budget.

    `-` is standard input; a pipe may stand for a file. An image that cannot be read costs no other its answer; raises
    InputError where none can be read.
    """
    if not images:
        raise InputError("no images were given; name at least one file, or - for standard input")
    board = Board()
    artifact = open_artifact(path)
    preprocess = artifact.preprocess
    if not preprocess.takes_images:
        return _predict_arrays(board, artifact, images, engine, budget_bytes, threads, top)
    unread: dict[int, Unread] = {}
    files = [_readable(str(image), number, unread) for number, image in enumerate(images)]
    largest, sizes = 0, set()
    for number, file in enumerate(files):
        if file is not None:
            try:
                header = read_header(file)
                largest = max(largest, decoding_bytes(header, preprocess))
                sizes.add(header.upright)
            except MemoryError:
                raise
            except Exception as error:  # Pillow's readers raise what they like for a damaged file
                unread[number] = Unread(str(images[number]), str(unreadable_image(str(images[number]), error)))
    left = [number for number in range(len(images)) if number not in unread]
    _refuse_nothing_read(left, unread)
    for note in artifact.sizes_note(sizes.pop() if len(sizes) == 1 else None):
        say(note)
    needs = replace(data_needs(artifact, decoder_bytes=largest + DECODER_CODE_BYTES), image_bytes=0)
    with open_for_inference(board, artifact, engine, budget_bytes, threads, needs, len(left)) as session:
        found: list[Prediction] = []

        def pixels() -> Iterator[tuple[str, np.ndarray]]:
            for number in left:
                name, file = str(images[number]), files[number]
                assert file is not None
                try:
                    yield name, read_image(file, preprocess)
                except InputError as error:
                    unread[number] = Unread(name, str(error).replace(str(file), name))

        with memory_errors("predicting"):
            found += predictions(session, pixels(), session.plan.choices.micro_batch, top)
        _refuse_nothing_read(found, unread)
        return PredictResult(
            task=session.task,
            predictions=tuple(found),
            unread=tuple(unread[number] for number in sorted(unread)),
            **measured(session),
        )


def _predict_arrays(
    board: Board,
    artifact: Artifact,
    files: Sequence[Path | str],
    engine: str,
    budget_bytes: int | None,
    threads: int,
    top: int,
) -> PredictResult:
    """The same of every entry of `inputs` in npz files, by the file's name and the entry's number."""
    sources: list[NpzInputs] = []
    try:
        for file in map(str, files):
            if not Path(file).is_file() or Path(file).suffix != ".npz":
                raise InputError(
                    f"{file}: the model takes windows or vectors of numbers; give npz files that hold them as 'inputs'"
                )
            sources.append(NpzInputs(Path(file)))
        needs = data_needs(artifact, decoder_bytes=max(source.nbytes for source in sources))
        needs = replace(needs, image_bytes=0)
        count = sum(len(source) for source in sources)
        if not count:
            raise InputError(f"{files[0]}: holds no inputs")

        def entries() -> Iterator[tuple[str, np.ndarray]]:
            for file, source in zip(files, sources, strict=True):
                for number in range(len(source)):
                    yield f"{file}[{number}]", source.numbers(number)

        with open_for_inference(board, artifact, engine, budget_bytes, threads, needs, min(count, 32)) as session:
            with memory_errors("predicting"):
                found = predictions(session, entries(), session.plan.choices.micro_batch, top)
            return PredictResult(task=session.task, predictions=tuple(found), unread=(), **measured(session))
    finally:
        for source in sources:
            source.close()


def _refuse_nothing_read(read: Sequence[Any], unread: dict[int, Unread]) -> None:
    if not read:
        more = f" ({len(unread) - 1} more cannot be read either)" if len(unread) > 1 else ""
        raise InputError(f"{unread[min(unread)].error}{more}")


def _readable(image: str, number: int, unread: dict[int, Unread]) -> Path | BytesIO | None:
    """The file, or what came through the pipe of that name, which can be read once only; None where there is none."""
    path = Path(image)
    try:
        if image == STANDARD_INPUT or (path.exists() and not path.is_file() and not path.is_dir()):
            with open(sys.stdin.fileno() if image == STANDARD_INPUT else path, "rb", closefd=image != "-") as pipe:
                content = pipe.read(_MOST_PIPED_BYTES + 1)
            if len(content) > _MOST_PIPED_BYTES:
                raise InputError(f"more than {_MOST_PIPED_BYTES >> 20} MiB came; give one image")
            return BytesIO(content)
        if not path.is_file():
            raise InputError("is a folder; give the images in it" if path.is_dir() else "no such file")
    except (InputError, OSError, ValueError) as error:
        unread[number] = Unread(image, f"{image}: {error}")
        return None
    return path


def array_pixels(array: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """The network's uint8 pixels `(h, w, c)` of a camera's: uint8 `(h, w)`, `(h, w, 1)` or RGB `(h, w, 3)`.

    Of a model that takes no images the numbers of `(f,)`, `(c, l)` or `(c, h, w)`. Raises InputError for anything else.
    """
    if not preprocess.takes_images:
        if problem := odd_numbers(array.shape, array.dtype):
            raise InputError(f"an input {problem}; several inputs are given as a list, or as one array of them")
        return numbers_of(array)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or not array.size or array.shape[2:] not in ((), (1,), (3,)):
        raise InputError(
            f"an image {array.dtype} {array.shape}: needed is uint8 (h, w), (h, w, 1) or (h, w, 3) in the order RGB; "
            "several images are given as a list, or as one array (n, h, w, c)"
        )
    array = array[:, :, None] if array.ndim == 2 else array
    if preprocess.takes_pixels(array):
        return array
    from PIL import Image

    flat = array[:, :, 0] if array.shape[2] == 1 else array
    return preprocess.pixels(Image.fromarray(np.ascontiguousarray(flat)))


def array_needs(largest: tuple[int, int], preprocess: Preprocess) -> int:
    """What preparing an RGB array of (height, width) holds at once, in bytes; Pillow is loaded to be counted."""
    array_pixels(np.zeros((8, 8, 3), np.uint8), preprocess)
    return decoding_bytes(Header("array", "RGB", largest[1], largest[0]), preprocess) + DECODER_CODE_BYTES


def predictions(
    session: Session,
    images: Iterable[tuple[str, np.ndarray]],
    batch_size: int,
    top: int,
    keep: Callable[[str, np.ndarray], None] = lambda image, answer: None,
) -> list[Prediction]:
    """What the network says of images that come with their names, as its uint8 pixels `(h, w, c)`.

    Of classes the `top` likeliest. Raises InputError for an answer that is not finite.
    """
    names, task = session.artifact.class_names, session.task
    preprocess = session.artifact.preprocess
    batch = np.empty((batch_size, *session.artifact.shape), np.float32)
    found: list[Prediction] = []
    waiting = iter(images)
    while piece := list(islice(_filled(waiting, batch, preprocess), batch_size)):
        rows = session.engine.predict(batch[: len(piece)])
        refuse_not_finite(rows)
        for image, row, pixels in zip(piece, rows, batch, strict=False):
            answer = task.answer(row, pixels, names)
            if task.of_classes:
                classes = tuple((one["class"], one["score"]) for one in answer["classes"][:top])
                found.append(Prediction(image, classes))
            else:
                found.append(Prediction(image, answer=answer))
            keep(image, row)
        session.check()
    return found


def _filled(images: Iterator[tuple[str, np.ndarray]], batch: np.ndarray, preprocess: Preprocess) -> Iterator[str]:
    """Names of the next images, each once it is normalised in its row of the batch."""
    for row, (name, pixels) in zip(batch, images, strict=False):
        if pixels.transpose(2, 0, 1).shape != row.shape and not preprocess.takes_images:
            raise InputError(f"{name}: {other_size(pixels.shape, (*row.shape[1:], row.shape[0]))}")
        if pixels.transpose(2, 0, 1).shape != row.shape:
            raise InputError(
                f"{name}: {pixels.shape[0]}x{pixels.shape[1]} after preprocessing, the network takes "
                f"{row.shape[1]}x{row.shape[2]}"
            )
        preprocess.normalise(pixels, row)
        yield name
