"""The reference network: dense weights under masks, one clear step at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge.engines.engine import StepResult
from edge.engines.reference.loss import LOSSES
from edge.engines.reference.operators import rule_of
from edge.engines.reference.optimizers import update
from edge.network import INPUT, Network, Operator, select_trainable
from edge.plan.choices import Choices
from edge.weight.formats import decode, kept_mask


class Reference:
    """A network to train and evaluate in numpy, in float32 or float64. It holds all tensors densely, by name.

    It follows `choices` in what changes the result: micro-batches, batch-norm mode, trained parameters, optimizer and
    label smoothing. In training mode every batch norm uses and moves batch statistics, trained or not, as in PyTorch,
    but where a piece gives it one value a channel: PyTorch refuses that, here its running statistics serve.
    """

    def __init__(self, network: Network, choices: Choices | None = None, dtype: type = np.float64) -> None:
        self.network = network
        self.choices = choices or Choices()
        self.trained = sorted(select_trainable(network, self.choices.trainable))
        self.masks = {name: kept_mask(parameter) for name, parameter in network.sparse_parameters().items()}
        self.tensors = {
            name: values if values.dtype.kind == "i" else values.astype(dtype)
            for name, values in ((name, decode(parameter)) for name, parameter in network.parameters.items())
        }
        kept = self.choices.optimizer.state_per_weight
        self.state = {name: [np.zeros_like(self.tensors[name]) for _ in range(kept)] for name in self.trained}
        self.steps = 0
        self._dtype = dtype
        self._loss = LOSSES[network.task.name]

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Logits `(n, classes)`, or answers of the task's other shape, in evaluation mode."""
        return self.values(images, training=False)[self.network.logits]

    def values(self, images: np.ndarray, training: bool) -> dict[str, np.ndarray]:
        """Every value of a forward pass by name, `"input"` included; changes nothing."""
        values: dict[str, np.ndarray] = {INPUT: images.astype(self._dtype)}
        for op in self.network.operators:
            inputs = [values[name] for name in op.inputs]
            batch_statistics = training and self._batch_statistics(op, len(images))
            values[op.name] = rule_of(op).forward(op, inputs, self._tensors_of(op.parameters()), batch_statistics)
        return values

    def gradients(self, values: dict[str, np.ndarray], grad_logits: np.ndarray) -> dict[str, np.ndarray]:
        """Gradients of the trained parameters from the values of a training pass, zero outside masks."""
        of_values = {self.network.logits: grad_logits}
        of_parameters = {name: np.zeros_like(self.tensors[name]) for name in self.trained}
        for op in reversed(self.network.operators):
            inputs = [values[name] for name in op.inputs]
            names = op.parameters()
            batch_statistics = self._batch_statistics(op, len(grad_logits))
            tensors, grad_value = self._tensors_of(names), of_values.pop(op.name)
            back, by_role = rule_of(op).backward(op, inputs, tensors, batch_statistics, grad_value)
            for name, grad in zip(op.inputs, back, strict=True):
                of_values[name] = of_values[name] + grad if name in of_values else grad
            for role, name in names.items():
                if name in of_parameters:
                    of_parameters[name] += by_role[role]
        for name, mask in self.masks.items():
            if name in of_parameters:
                of_parameters[name] *= mask
        return of_parameters

    def accumulate(self, images: np.ndarray, labels: np.ndarray) -> tuple[StepResult, dict[str, np.ndarray]]:
        """Mean loss and correct answers of a batch, and the gradients of its mean loss; moves batch statistics."""
        task, output = self.network.task, self.network.output
        targets, terms = task.against(images, labels), task.terms(labels, output)
        total = {name: np.zeros_like(self.tensors[name]) for name in self.trained}
        loss, correct = 0.0, 0
        for piece in self._pieces(len(images)):
            values = self.values(images[piece], training=True)
            logits = values[self.network.logits]
            piece_loss, grad_logits = self._loss(logits, targets[piece], self.choices.label_smoothing)
            share = task.terms(labels[piece], output) / terms
            loss += piece_loss * share
            correct += int((logits.argmax(axis=1) == labels[piece]).sum()) if task.of_classes else 0
            for name, grad in self.gradients(values, grad_logits * self._dtype(share)).items():
                total[name] += grad
            self._move_statistics(values)
        return StepResult(loss, correct if task.of_classes else None), total

    def train_step(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> StepResult:
        """One optimizer step over a batch; loss and correct answers are from before the update."""
        result, gradients = self.accumulate(images, labels)
        self.steps += 1
        for name, grad in gradients.items():
            update(self.choices.optimizer, self.tensors[name], grad, self.state[name], learning_rate, self.steps)
        return result

    def zeros_kept(self) -> bool:
        """True if every weight outside the masks is exactly zero."""
        return all(not self.tensors[name][~mask].any() for name, mask in self.masks.items())

    def _pieces(self, count: int) -> Iterator[slice]:
        step = min(self.choices.micro_batch, count)
        return (slice(start, min(start + step, count)) for start in range(0, count, step))

    def _tensors_of(self, names: dict[str, str]) -> dict[str, np.ndarray]:
        return {role: self.tensors[name] for role, name in names.items()}

    def _batch_statistics(self, op: Operator, samples: int) -> bool:
        """True if training normalises by the statistics of its own batch of so many samples."""
        return self.choices.batch_norm == "train" and op.uses_batch() and op.has_spread(samples)

    def _move_statistics(self, values: dict[str, np.ndarray]) -> None:
        for op in self.network.operators:
            if self._batch_statistics(op, len(values[INPUT])):
                names, inputs = op.parameters(), [values[name] for name in op.inputs]
                for role, moved in rule_of(op).moved(op, inputs, self._tensors_of(names)).items():
                    self.tensors[names[role]] = moved
