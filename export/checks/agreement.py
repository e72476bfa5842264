"""Whether an engine agrees with a judge: what a judge says of one batch, and the differences that are rounding."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol

import numpy as np

from edge.tasks.registry import CLASSIFICATION
from edge.tasks.task import Task
from export.checks.observe import Batch, Observed
from export.kept import Kept, cut
from mest.errors import MestError

# What is judged: a batch of noise, and the step's learning rate; and the batches that an engine may be judged on before
# it is refused. A batch has as many samples as hold NUMBERS together, within bounds: large images decide by their
# positions, and each more of them costs every judge its time and memory; but batch norm of a layer without positions
# gives ±1 for two samples, whatever they are.
FEWEST, MOST, NUMBERS = 3, 8, 1 << 18
BATCHES = 3
# The input of a ReLU near zero, and two neighbours of a max pooling that are nearly alike, change sides by rounding
# alone and then move a gradient by more than any tolerance. A large network has such a place on every batch. So what
# one step in float64 changes by when the images move by this share of themselves, a few times at random, is allowed
# too, times a factor: rounding inside a network moves its values at least as far.
NUDGE_SHARE, NUDGES, NUDGE_FACTOR = 1e-6, 3, 3.0
LEARNING_RATE = {"sgd": 0.01, "adamw": 0.001}
# A difference is accepted up to these shares of: the logits, the loss, the parameter's own update, the largest update
# of any parameter (sums over a batch lose digits by that scale), the parameter; and up to a multiple of the judge's own
# float32 error.
LOGITS_SHARE, LOSS_SHARE, UPDATE_SHARE, LARGEST_UPDATE_SHARE, WEIGHT_SHARE = 1e-4, 1e-5, 1e-3, 2e-5, 1e-6
FLOOR_FACTOR = 20.0
# One AdamW step moves every weight by the learning rate against the sign of its gradient; where the gradient is
# rounding noise (a bias in front of batch norm) its sign is noise too.
NOISE_SHARE = 1e-3


class DisagreementError(MestError):
    """The engines do not give the same network; the artifact cannot be trusted and is not written."""

    exit_code = 4


class Answer(Protocol):
    """Logits, loss and every parameter after one step."""

    @property
    def logits(self) -> np.ndarray:
        """Logits (n, classes) before the step."""

    @property
    def loss(self) -> float:
        """The mean loss of the batch."""

    @property
    def before(self) -> Mapping[str, np.ndarray]:
        """Parameters and running statistics before the step."""

    @property
    def updated(self) -> Mapping[str, np.ndarray]:
        """Parameters and running statistics after the step."""


@dataclass(frozen=True, eq=False)
class Floors:
    """How far a judge's own answers lie apart where only rounding differs.

    `updated`: by parameter, the largest difference of a value after the step; `norms`: of the step's Euclidean norm.
    """

    updated: dict[str, float]
    norms: dict[str, float]
    logits: float
    loss: float


@dataclass(frozen=True, eq=False)
class Expected:
    """A judge's answer in float64, and how far its own float32 is from it."""

    judge: str
    batch: Batch
    logits: np.ndarray
    loss: float
    before: dict[str, np.ndarray]
    updated: dict[str, np.ndarray]
    biased_variance: dict[str, np.ndarray]
    trusted: dict[str, np.ndarray]
    floors: Floors


def make_batch(input: tuple[int, ...], classes: int, kind: str, seed: int = 0, task: Task = CLASSIFICATION) -> Batch:
    """A small batch of noise with targets of a task, the same for the same seed."""
    count = min(max(NUMBERS // math.prod(input), FEWEST), MOST)
    generator = np.random.default_rng(seed)
    images = generator.standard_normal((count, *input)).astype(np.float32)
    return Batch(images, task.noise(count, task.output(classes, input), generator), LEARNING_RATE[kind])


def attempts() -> Iterator[tuple[int, int]]:
    """Seeds of batches and numbers of nudges, in the order in which an engine is judged until it agrees.

    First batches without a nudge, where nearly all small networks agree; then the first batch with what rounding does
    to its step.
    """
    yield from ((seed, 0) for seed in range(BATCHES))
    yield 0, NUDGES


def nudged(batch: Batch, times: int) -> list[Batch]:
    """The batch with its images moved by rounding's share of themselves, so many times at random."""
    generator = np.random.default_rng(0)
    batches = []
    for _ in range(times):
        noise = generator.standard_normal(batch.images.shape)
        batches.append(replace(batch, images=(batch.images * (1 + NUDGE_SHARE * noise)).astype(np.float32)))
    return batches


def floors(exact: Answer, rounded: Answer, moved: Iterable[Answer], meant: Mapping[str, np.ndarray]) -> Floors:
    """How far float32 is from float64, and answers to nudged images from the answer, whichever is more.

    `meant`: where the update of a parameter is judged (bool, as itself); everywhere for those that it does not name.
    """
    updated: dict[str, float] = {}
    norms: dict[str, float] = {}
    logits = loss = 0.0
    lengths = step_norms(exact)
    for other, share in chain([(rounded, 1.0)], ((answer, NUDGE_FACTOR / FLOOR_FACTOR) for answer in moved)):
        for name, value in exact.updated.items():
            apart = np.abs(other.updated[name] - value)
            apart = apart[meant[name]] if name in meant else apart
            updated[name] = max(updated.get(name, 0.0), share * float(apart.max(initial=0.0)))
        for name, norm in step_norms(other).items():
            norms[name] = max(norms.get(name, 0.0), share * abs(norm - lengths[name]))
        logits = max(logits, share * float(np.abs(other.logits - exact.logits).max()))
        loss = max(loss, share * abs(other.loss - exact.loss))
    return Floors(updated, norms, logits, loss)


def step_norms(answer: Answer) -> dict[str, float]:
    """How far the step moved each parameter, in float64."""
    steps = {name: value.astype(np.float64) - answer.before[name] for name, value in answer.updated.items()}
    return {name: float(np.linalg.norm(step)) for name, step in steps.items()}


def trusted(gradient: np.ndarray) -> np.ndarray:
    """Where a gradient is more than rounding noise."""
    size = np.abs(gradient)
    above: np.ndarray = size > NOISE_SHARE * size.max(initial=0.0) + 1e-7
    return above


def compare(expected: Expected, observed: Observed, kept: Mapping[str, Kept], unbiased_variance: bool) -> float:
    """The largest difference of an updated value, over its tolerance; 1 would be just too much.

    Raises DisagreementError naming the layer and the numbers. `unbiased_variance`: whether the engine's running
    variance is PyTorch's; onnxruntime's is the biased one.
    """
    worst = 0.0
    if observed.nonzero_outside:
        raise DisagreementError(
            f"engine {observed.engine}: {observed.nonzero_outside[0]} is not zero outside its mask after one step"
        )
    scale = float(np.abs(expected.logits).max())
    loss_tolerance = LOSS_SHARE * (1 + abs(expected.loss)) + FLOOR_FACTOR * expected.floors.loss
    pairs = [
        ("logits", observed.logits, expected.logits, LOGITS_SHARE * scale + FLOOR_FACTOR * expected.floors.logits),
        ("loss", np.array(observed.loss), np.array(expected.loss), loss_tolerance),
    ]
    moved = {name: expected.updated[name] - before for name, before in expected.before.items()}
    largest = max(float(np.abs(moved[name]).max(initial=0.0)) for name in observed.updated if name in moved)
    for name, value in observed.updated.items():
        if name not in expected.updated:
            continue
        wanted = expected.updated[name]
        if not unbiased_variance:
            wanted = expected.biased_variance.get(name, wanted)
        wanted = cut(wanted, kept.get(name))
        if value.ndim == wanted.ndim + 1 and value.shape[-2] == 1:
            value = value[..., 0, :]  # kernels of windows, which have a row in the network
        if value.shape != wanted.shape:
            raise DisagreementError(
                f"engine {observed.engine}: {name} has shape {value.shape}, {expected.judge} {wanted.shape}"
            )
        tolerance = UPDATE_SHARE * float(np.abs(cut(moved[name], kept.get(name))).max(initial=0.0))
        tolerance += LARGEST_UPDATE_SHARE * largest + WEIGHT_SHARE * float(np.abs(wanted).max(initial=0.0))
        tolerance += FLOOR_FACTOR * expected.floors.updated[name] + 1e-9
        if name in expected.trusted:
            meant = cut(expected.trusted[name], kept.get(name))
            value, wanted = value[meant], wanted[meant]
        pairs.append((name, value, wanted, tolerance))
    for name, value, wanted, tolerance in pairs:
        difference = float(np.abs(value - wanted).max(initial=0.0))
        if not difference <= tolerance:
            raise DisagreementError(
                f"engine {observed.engine}: {name} differs from {expected.judge} by {difference:.3g} in one step "
                f"(largest value {float(np.abs(wanted).max(initial=0.0)):.3g}, allowed {tolerance:.3g})"
            )
        if difference:  # logits of a head that begins at zero have no tolerance, and need none
            worst = max(worst, difference / tolerance)
    return worst
