"""One epoch: the training steps, and the evaluation of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from mest.data.loader import Batch
from mest.data.preprocess import Preprocess
from mest.errors import InputError
from mest.models.probe import all_logits_of
from mest.ranking.presentations import look_again
from mest.ranking.samples import TrainingSamples
from mest.tasks.registry import CLASSIFICATION
from mest.tasks.task import Task
from mest.train.config import TrainConfig
from mest.train.process import Process

# Steps between looks at the loss: a look waits for the accelerator.
STEPS_PER_CHECK = 20
# Weight of the loss of an auxiliary classifier, which some models have while they train (GoogLeNet, section 5).
AUXILIARY_SHARE = 0.3


class StopRequested(Exception):
    """The epoch was abandoned because a stop was asked for."""


@dataclass(frozen=True)
class Score:
    """Mean loss and the task's metrics over `count` samples; the first one, `judged`, decides what is best."""

    loss: float
    values: tuple[float, ...]
    count: int

    @property
    def judged(self) -> float:
        """The metric that decides: accuracy where samples have a class."""
        return self.values[0]


@dataclass
class Steps:
    """What the training steps of a run share: the model, how it learns, and where.

    `forward` is the model itself, or its wrapper that averages gradients over the processes of a run.
    """

    config: TrainConfig
    process: Process
    model: nn.Module
    forward: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: GradScaler
    preprocess: Preprocess
    samples: TrainingSamples

    def train_epoch(self, epoch: int, batches: Iterable[tuple[Batch, int]], stop: Callable[[], bool]) -> Score:
        """Take one step for each batch (this process's part, and the size of the whole batch) and return the means.

        Raises StopRequested between two steps, InputError if the loss is no longer finite.
        """
        self.forward.train()
        loss_sum = torch.zeros((), dtype=torch.float64, device=self.process.device)
        terms_sum = torch.zeros_like(loss_sum)
        counted: Tensor | None = None
        count = 0
        for step, (batch, whole) in enumerate(batches):
            at_check = step % STEPS_PER_CHECK == 0
            if (at_check or self.process.world == 1) and self.process.any(stop()):
                raise StopRequested
            loss, terms, counts = self._step(epoch, step, batch, whole)
            loss_sum += loss
            terms_sum += terms
            counted = counts.double() if counted is None else counted + counts
            count += whole
            if at_check:
                self._refuse_unusable(loss_sum, epoch)
        assert counted is not None  # there is at least one batch
        loss, *totals = self.process.sum(torch.cat([loss_sum.reshape(1), counted])).tolist()
        self._refuse_unusable(torch.tensor(loss), epoch)
        return Score(loss / float(terms_sum), self.task.values(totals, count), count)

    @property
    def task(self) -> Task:
        """What the model is trained for."""
        return self.config.data.task

    def _step(self, epoch: int, step: int, batch: Batch, whole: int) -> tuple[Tensor, float, Tensor]:
        """One optimizer step; returns the sum of the loss over this process's samples, the terms of the whole batch,
        and what the metrics are counted by."""
        pixels, labels, indices = (part.to(self.process.device, non_blocking=True) for part in batch)
        images = self.preprocess.normalise(pixels)
        mixed, partners, ratio = self._mix(images, epoch, step)
        settings, task = self.config.optimizer, self.task
        wanted = task.against(images, labels)
        terms = task.terms(wanted, whole, self.process.sum)
        outcome = []
        loss_sum = torch.zeros((), dtype=torch.float64, device=images.device)
        parts = torch.arange(len(labels), device=images.device).chunk(settings.accumulate)
        for number, part in enumerate(parts):
            with self._sync(number == len(parts) - 1), self._autocast():
                logits, *auxiliary = (each.float() for each in all_logits_of(self.forward(mixed[part])))
                others = labels[partners[part]] if partners is not None else None
                loss = self._mixed_loss(logits, wanted[part], others, ratio)
                for other in auxiliary:
                    loss = loss + AUXILIARY_SHARE * self._mixed_loss(other, wanted[part], others, ratio)
                # Gradients are averaged over processes, and parts may differ in size: weigh by the whole batch.
                self.scaler.scale(loss * (self.process.world / terms)).backward()
            loss_sum += loss.detach()
            outcome.append(logits.detach())
        answers = torch.cat(outcome)
        if self.samples.counting:  # before the update: judged by the weights that the step was taken with
            mixed_up = partners is not None
            judged = self._look_again(images, labels, parts) if mixed_up else answers.argmax(1) == labels
            self.samples.presented(indices, judged, extra_look=mixed_up)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        counts = task.counts(answers, wanted)
        if partners is not None:
            counts = ratio * counts + (1 - ratio) * task.counts(answers, labels[partners])
        return loss_sum, terms, counts

    def _look_again(self, images: Tensor, labels: Tensor, parts: Sequence[Tensor]) -> Tensor:
        """Whether each unmixed image is classified correctly, in the parts and the precision of the step itself."""
        with self._autocast():
            return torch.cat([look_again(self.model, images[part], labels[part]) for part in parts])

    def _mixed_loss(self, logits: Tensor, labels: Tensor, others: Tensor | None, ratio: float) -> Tensor:
        """The loss of labels and, for mixed images, of those of their partners, by their shares."""
        smoothing = self.config.optimizer.label_smoothing
        loss = ratio * self.task.loss_sum(logits, labels, smoothing)
        return loss if others is None else loss + (1 - ratio) * self.task.loss_sum(logits, others, smoothing)

    def _mix(self, images: Tensor, epoch: int, step: int) -> tuple[Tensor, Tensor | None, float]:
        """Images mixed with a shuffle of themselves, the shuffle and the share of the first; unmixed without mixup."""
        alpha = self.config.optimizer.mixup_alpha
        if not alpha:
            return images, None, 1.0
        generator = np.random.default_rng([self.config.seed, epoch, step, self.process.rank, 0x313])
        ratio = float(generator.beta(alpha, alpha))
        partners = torch.from_numpy(generator.permutation(len(images))).to(images.device)
        return ratio * images + (1 - ratio) * images[partners], partners, ratio

    def _autocast(self) -> AbstractContextManager[None]:
        return autocast(self.process.device, self.config.amp)

    def _sync(self, last: bool) -> AbstractContextManager[None]:
        """Gradients travel between processes with the last part alone."""
        if last or not isinstance(self.forward, nn.parallel.DistributedDataParallel):
            return nullcontext()
        return self.forward.no_sync()

    def _refuse_unusable(self, loss_sum: Tensor, epoch: int) -> None:
        if not bool(torch.isfinite(loss_sum)):
            raise InputError(
                f"the loss is no longer finite in epoch {epoch}; the checkpoint before it is kept; begin again in "
                f"another --out with a lower --lr (now {self.config.optimizer.lr:g}) or with --warmup"
            )


def autocast(device: torch.device, enabled: bool) -> AbstractContextManager[None]:
    """Return the context of mixed precision: bfloat16 on a CPU, float16 on a GPU."""
    if not enabled:
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.float16 if device.type == "cuda" else torch.bfloat16)


@torch.no_grad()
def predict(
    model: nn.Module,
    batches: Iterable[Batch],
    preprocess: Preprocess,
    device: torch.device,
    amp: bool = False,
    task: Task = CLASSIFICATION,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield logits `(k, classes)` float32 and labels `(k,)` of each batch, the model in evaluation mode throughout.

    Of another task than classification they are its answers and what these are compared with.
    """
    training = model.training
    model.eval()
    try:
        for pixels, labels, _ in batches:
            images = preprocess.normalise(pixels.to(device, non_blocking=True))
            with autocast(device, amp):
                logits = model(images)
            yield logits.float(), task.against(images, labels.to(device, non_blocking=True))
    finally:
        model.train(training)


def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    preprocess: Preprocess,
    device: torch.device,
    amp: bool = False,
    task: Task = CLASSIFICATION,
) -> Score:
    """Return the mean loss (without smoothing) and the task's metrics over the batches."""
    loss_sum = torch.zeros((), dtype=torch.float64, device=device)
    counted: Tensor | None = None
    terms, count = 0.0, 0
    for answers, wanted in predict(model, batches, preprocess, device, amp, task):
        loss_sum += task.loss_sum(answers, wanted)
        counts = task.counts(answers, wanted).double()
        counted = counts if counted is None else counted + counts
        terms += task.terms(wanted, len(wanted), lambda own: own)
        count += len(wanted)
    if counted is None:
        return Score(0.0, (0.0,) * len(task.metrics), 0)
    return Score(float(loss_sum) / max(terms, 1), task.values(counted.tolist(), count), count)
