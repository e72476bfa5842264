"""Whether an engine agrees with a judge: what a judge says of one batch, and the differences that are rounding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from export.checks.observe import Batch, Observed
from export.kept import Kept, cut
from mest.errors import MestError

# What is judged: a batch of noise, and the step's learning rate; and the batches that an engine may be judged on before
# it is refused.
BATCH = 8
BATCHES = 3
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


@dataclass(frozen=True, eq=False)
class Expected:
    """A judge's answer in float64, and how far its own float32 is from it: the floors, `floor` by parameter."""

    judge: str
    batch: Batch
    logits: np.ndarray
    loss: float
    before: dict[str, np.ndarray]
    updated: dict[str, np.ndarray]
    biased_variance: dict[str, np.ndarray]
    trusted: dict[str, np.ndarray]
    floor: dict[str, float]
    logits_floor: float
    loss_floor: float


def make_batch(input: tuple[int, int, int], classes: int, kind: str, seed: int = 0) -> Batch:
    """A small batch of noise with labels, the same for the same seed."""
    generator = np.random.default_rng(seed)
    images = generator.standard_normal((BATCH, *input)).astype(np.float32)
    return Batch(images, np.arange(BATCH, dtype=np.int64) % classes, LEARNING_RATE[kind])


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
    loss_tolerance = LOSS_SHARE * (1 + abs(expected.loss)) + FLOOR_FACTOR * expected.loss_floor
    pairs = [
        ("logits", observed.logits, expected.logits, LOGITS_SHARE * scale + FLOOR_FACTOR * expected.logits_floor),
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
        if value.shape != wanted.shape:
            raise DisagreementError(
                f"engine {observed.engine}: {name} has shape {value.shape}, {expected.judge} {wanted.shape}"
            )
        tolerance = UPDATE_SHARE * float(np.abs(cut(moved[name], kept.get(name))).max(initial=0.0))
        tolerance += LARGEST_UPDATE_SHARE * largest + WEIGHT_SHARE * float(np.abs(wanted).max(initial=0.0))
        tolerance += FLOOR_FACTOR * expected.floor[name] + 1e-9
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
