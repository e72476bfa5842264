"""The ort engine: onnxruntime-training computes gradients, the update and the mutation work in its memory in place."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edge.engines.engine import MutationResult, StepResult
from edge.engines.ort import bindings
from edge.engines.ort.optimizer import Optimizer
from edge.engines.ort.sparse import Described, SparseLayer
from edge.errors import ClosedError, DamagedError
from edge.files.arrays import extent
from edge.plan.choices import Choices
from edge.plan.footprint import Footprint
from edge.tasks.registry import CLASSIFICATION
from edge.tasks.task import Shape, Task

_TYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 6: np.int32, 7: np.int64, 9: np.bool_}
_STATE = "optimizer/{name}/{number}"
_LOSS_SCALE = "mest.loss_scale"  # a frozen parameter: the share of the batch that a piece is


class OrtSession:
    """The loaded training and evaluation graphs with their parameters as numpy views."""

    def __init__(self, artifact: Path, threads: int) -> None:
        """Load `training_model.onnx`, `eval_model.onnx` and `checkpoint`; DamagedError if they do not load."""
        self._library = bindings.load_bindings()
        library = self._library
        options = library.SessionOptions()
        options.enable_mem_pattern = False  # the pattern of the first batch is kept for ever: 60 % more at the peak
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        device = library.OrtDevice(0, library.OrtDevice.default_memory(), 0)
        with _library_errors():
            try:
                self._state = library.load_checkpoint(str(artifact / "checkpoint"))
                self._module = library.Module(
                    str(artifact / "training_model.onnx"),
                    self._state,
                    str(artifact / "eval_model.onnx"),
                    device,
                    options,
                )
            except Exception as error:  # the library's exceptions share no base but this
                if _is_allocation(error):
                    raise
                raise DamagedError(f"{artifact}: onnxruntime-training does not load it: {_line(error)}") from None
        self._held: list[Any] = []
        self.names: list[str] = list(self._state.parameter_names())
        self.values = {name: self._view(self._state.get_parameter(name).data) for name in self.names}
        self.trainable = [name for name in self.names if self._state.get_parameter(name).requires_grad]

    def _view(self, value: Any) -> np.ndarray:
        """The memory of an OrtValue as an array; the value is kept alive as long as the session."""
        shape = tuple(value.shape())
        dtype = np.dtype(_TYPES[value.element_type()])
        nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        self._held.append(value)
        if not nbytes:
            return np.empty(shape, dtype)
        memory = memoryview((ctypes.c_char * nbytes).from_address(value.data_ptr())).cast("B")
        return np.frombuffer(memory, dtype=dtype).reshape(shape)

    def gradients(self) -> dict[str, np.ndarray]:
        """The accumulated gradient of every trainable parameter, as views that the next step fills again."""
        held = len(self._held)
        views = {name: self._view(self._state.get_parameter(name).grad).reshape(-1) for name in self.trainable}
        del self._held[held:]  # the buffers belong to the session
        return views

    def accumulate(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
        """Scaled mean loss and logits; adds the gradients to those there."""
        outputs = self._library.OrtValueVector()
        with _library_errors():
            self._module.train_step(_fed(images, labels), outputs)
        return float(outputs[0].numpy()), outputs[1].numpy()

    def reset_gradients(self) -> None:
        """Start the next accumulation from zero."""
        self._module.lazy_reset_grad()

    def evaluate(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Logits in evaluation mode; the labels count for nothing."""
        outputs = self._library.OrtValueVector()
        with _library_errors():
            self._module.eval_step(_fed(images, labels), outputs)
        logits: np.ndarray = outputs[1].numpy()
        return logits

    def close(self) -> None:
        """Release the sessions."""
        self.values.clear()
        self._held.clear()
        self._module = self._state = None


class OrtEngine:
    """`Engine` over onnxruntime-training's C bindings. `snapshot` returns views of the living arrays."""

    name = "ort"

    def __init__(
        self,
        artifact: Path,
        choices: Choices,
        footprint: Footprint,
        sparse: Sequence[Described],
        output: Shape,
        updated: frozenset[str] | None = None,
        input: Sequence[int] | None = None,
        task: Task = CLASSIFICATION,
    ) -> None:
        """Load an artifact. `updated` names the parameters to train where fewer than exported are wanted.

        `output` is the shape of an answer in the network, `input` the one in which its graphs take an image; None: as
        the images come.
        """
        self.choices = choices
        self.footprint = footprint
        self.session = OrtSession(artifact, choices.threads)
        self._output, self._task = output, task
        self._input = input
        self._sparse = [SparseLayer(described, self.session.values) for described in sparse]
        self._closed = False
        trained = [name for name in self.session.trainable if updated is None or name in updated]
        self._optimizer = Optimizer(choices.optimizer, {name: self.session.values[name].size for name in trained})

    def train_step(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> StepResult:
        """One optimizer step over a batch, in pieces of `choices.micro_batch` that are weighted by their size."""
        self._refuse_closed()
        session, size, count = self.session, self.choices.micro_batch, len(images)
        loss, correct, terms = 0.0, 0, self._task.terms(labels, self._output)
        images, labels = self._as_graph(images), self._labels_as_graph(labels)
        for start in range(0, count, size):
            piece = slice(start, min(start + size, count))
            session.values[_LOSS_SCALE][...] = self._task.terms(labels[piece], self._output) / terms
            piece_loss, logits = session.accumulate(images[piece], labels[piece])
            loss += piece_loss
            correct += int((logits.argmax(axis=1) == labels[piece]).sum()) if self._task.of_classes else 0
        if np.isfinite(loss):
            self._update(session.gradients(), learning_rate)
        session.reset_gradients()
        return StepResult(loss, correct if self._task.of_classes else None)

    def _refuse_closed(self) -> None:
        """Raise ClosedError where the library would be handed nothing, or a snapshot would hold nothing."""
        if self._closed:
            raise ClosedError

    def _as_graph(self, images: np.ndarray) -> np.ndarray:
        """Images `(n, c, h, w)` in the dimensions of the graphs: windows have no height there."""
        return images if self._input is None else images.reshape(len(images), *self._input)

    def _labels_as_graph(self, labels: np.ndarray) -> np.ndarray:
        """Labels of each position likewise."""
        one_row = self._input is not None and len(self._input) < 3 and labels.ndim == 3
        return labels[:, 0] if one_row else labels

    def _update(self, gradients: Mapping[str, np.ndarray], learning_rate: float) -> None:
        self._optimizer.begin_step()
        for name in self._optimizer.state:
            self._optimizer.update(name, self.session.values[name].reshape(-1), gradients[name], learning_rate)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Logits `(n, classes)`, or answers of the task's other shape, in evaluation mode.

        They are computed in pieces of `choices.micro_batch`.
        """
        self._refuse_closed()
        logits = np.empty((len(images), *self._output), np.float32)
        images = self._as_graph(images)
        labels = self._labels_as_graph(self._task.noise(self.choices.micro_batch, self._output))
        for start in range(0, len(images), self.choices.micro_batch):
            piece = slice(start, start + self.choices.micro_batch)
            part = images[piece]
            logits[piece] = self.session.evaluate(part, labels[: len(part)]).reshape(-1, *self._output)
        return logits

    def mutate(
        self, prune_to: Mapping[str, float], grow_to: Mapping[str, float], seed: int, gradient_weight: float = 0.0
    ) -> MutationResult:
        """Prune and grow each named layer inside its arrays; see `edge.weight.mutation`."""
        self._refuse_closed()
        removed = grown = 0
        for number, layer in enumerate(self._sparse):
            if layer.name in prune_to:
                gradient = None
                if gradient_weight:
                    gradient = self.session.gradients().get(layer.values_name)
                result = layer.mutate(
                    prune_to[layer.name],
                    grow_to[layer.name],
                    seed + number,
                    gradient_weight,
                    gradient,
                    self._optimizer.state.get(layer.values_name, ()),
                )
                removed, grown = removed + result.removed, grown + result.grown
        return MutationResult(removed, grown)

    def snapshot(self) -> dict[str, np.ndarray]:
        """Parameters by their name in the checkpoint, optimizer state and step count; views of what is there."""
        self._refuse_closed()
        arrays = dict(self.session.values)
        for name, state in self._optimizer.state.items():
            arrays.update({_STATE.format(name=name, number=number): array for number, array in enumerate(state)})
        arrays["optimizer/steps"] = np.array([self._optimizer.steps], np.int64)
        return arrays

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Copy a snapshot into place; raises DamagedError if a name or a shape differs."""
        here = self.snapshot()
        wrong = sorted(set(here) ^ set(snapshot))
        if wrong:
            raise DamagedError(f"state: {wrong[0]} does not fit this artifact and these choices")
        _copy_all(snapshot, here)
        self._optimizer.steps = int(snapshot["optimizer/steps"][0])

    def restore_weights(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Copy the checkpoint's parameters alone into place; raises DamagedError if one lacks or has another shape."""
        self._refuse_closed()
        lacking = sorted(set(self.session.values) - set(snapshot))
        if lacking:
            raise DamagedError(f"state: holds no {lacking[0]}, which this artifact needs")
        _copy_all(snapshot, self.session.values)
        for state in self._optimizer.state.values():
            for array in state:
                array[...] = 0
        self._optimizer.steps = 0

    def zeros_kept(self) -> bool:
        """True if every weight outside the mask is exactly zero."""
        self._refuse_closed()
        return all(layer.zeros_kept() for layer in self._sparse)

    def sparsity(self) -> float:
        """Zeros over weights of the sparse layers; 0 for a network without any."""
        self._refuse_closed()
        weights = sum(layer.weights for layer in self._sparse)
        return 1 - sum(layer.nonzeros() for layer in self._sparse) / weights if weights else 0.0

    def close(self) -> None:
        """Release the sessions and their threads."""
        self._closed = True
        self.session.close()


def _fed(images: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """What the graphs take: no labels where the images are what is wanted."""
    return [images, labels] if labels.size else [images]


def _copy_all(snapshot: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> None:
    """Fill every array from the snapshot; raises DamagedError, before any is touched, if a shape or type differs."""
    for name, array in arrays.items():
        found = extent(snapshot, name)
        if found.shape != array.shape or found.dtype != array.dtype:
            raise DamagedError(f"state: {name} does not fit this artifact and these choices")
    for name, array in arrays.items():
        array[...] = snapshot[name]


def _is_allocation(error: Exception) -> bool:
    text = str(error).lower()
    return "bad_alloc" in text or "failed to allocate" in text or "out of memory" in text


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300]


@contextmanager
def _library_errors() -> Iterator[None]:
    """Turn the library's word for a refused allocation into MemoryError."""
    try:
        yield
    except Exception as error:  # the library's exceptions share no base but this
        if _is_allocation(error):
            raise MemoryError(_line(error)) from error
        raise
