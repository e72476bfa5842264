"""Runs artifacts through the C bindings of onnxruntime-training, which need neither torch nor onnx."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge.engines.ort.bindings import load_bindings
from export.ort.files import CHECKPOINT, EVALUATION, OPTIMIZER, TRAINING


class Session:
    """The artifacts of one folder, ready to step. Images float32 (n, c, h, w), labels int64 (n,) or the task's own."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        bindings = load_bindings()
        options = bindings.SessionOptions()
        options.enable_mem_pattern = False
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._bindings = bindings
        self._device = bindings.OrtDevice(bindings.OrtDevice.cpu(), bindings.OrtDevice.default_memory(), 0)
        self._state = bindings.load_checkpoint(str(folder / CHECKPOINT))
        self._module = bindings.Module(
            str(folder / TRAINING), self._state, str(folder / EVALUATION), self._device, options
        )
        self._optimizer = bindings.Optimizer(str(folder / OPTIMIZER), self._state, self._device, options)

    @property
    def names(self) -> list[str]:
        """Every parameter of the checkpoint."""
        return list(self._state.parameter_names())

    def parameter(self, name: str) -> np.ndarray:
        """A copy of a parameter's present value."""
        return np.array(self._state.get_parameter(name).data.numpy())

    def parameters(self) -> dict[str, np.ndarray]:
        """Copies of all of them."""
        return {name: self.parameter(name) for name in self.names}

    def assign(self, name: str, value: np.ndarray) -> None:
        """Replace a parameter's value; shape and dtype stay."""
        value = self._bindings.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value), self._device)
        self._state.copy_parameter_from(name, value)

    def gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
        """Loss and logits of one forward and backward pass in training mode; gradients accumulate until `update`."""
        fetched = self._bindings.OrtValueVector()
        self._module.train_step(_fed(images, labels), fetched)
        return float(fetched[0].numpy()), np.array(fetched[1].numpy())

    def update(self, learning_rate: float) -> None:
        """One optimizer step, after which gradients start from zero."""
        self._optimizer.set_learning_rate(learning_rate)
        self._optimizer.optimizer_step()
        self._module.lazy_reset_grad()

    def train_step(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> tuple[float, np.ndarray]:
        """Loss and logits before one whole step."""
        result = self.gradients(images, labels)
        self.update(learning_rate)
        return result

    def evaluate(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
        """Loss and logits in evaluation mode."""
        fetched = self._bindings.OrtValueVector()
        self._module.eval_step(_fed(images, labels), fetched)
        return float(fetched[0].numpy()), np.array(fetched[1].numpy())


def _fed(images: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """What the graphs take: no labels where the images are what is wanted."""
    return [images, labels] if labels.size else [images]
