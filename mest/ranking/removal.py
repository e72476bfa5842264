"""Which samples go when: the removal of the easiest training samples, in one round or several.

The published options keep their meaning. `--remove-n` samples go at `--remove-data-epoch`; `--keep-lowest-n` is the
place in the sorted order where removal starts, so that many of the very easiest are kept; a negative one removes at
random instead, the control of the cited study. Several rounds are written with dashes, as decay epochs are
(`--remove-n 6000-6000 --remove-data-epoch 40-70`). A number below one is a fraction of the samples trained on (after
a validation split). Epochs count from 0; a round takes effect before its epoch's first step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mest.errors import InputError
from mest.ranking.forgetting import Indices
from mest.spelling import named


@dataclass(frozen=True)
class Round:
    """One removal: how many samples go at the start of which epoch."""

    epoch: int
    remove: int


@dataclass(frozen=True)
class RemovalPlan:
    """All removals of a run, by epoch.

    `keep_lowest`: how many of the easiest samples stay; below zero, samples go at random.
    `restore_every_epochs`: how often the removed samples are looked at again, those now wrong coming back; 0 is never.
    """

    rounds: tuple[Round, ...] = ()
    keep_lowest: int = 0
    restore_every_epochs: int = 0

    def removing(self, epoch: int) -> int:
        """How many samples go at the start of `epoch`."""
        return sum(each.remove for each in self.rounds if each.epoch == epoch)

    def restoring(self, epoch: int) -> bool:
        """Whether removed samples are looked at before `epoch`: every so many epochs after the first removal."""
        if not self.restore_every_epochs or not self.rounds:
            return False
        since = epoch - self.rounds[0].epoch
        return since > 0 and since % self.restore_every_epochs == 0


def parse_removal(
    remove_n: str,
    remove_data_epoch: str,
    *,
    samples: int,
    epochs: int,
    ordered: bool,
    keep_lowest: int = 0,
    restore_every_epochs: int = 0,
    fewest: int = 1,
) -> RemovalPlan:
    """The plan that the options ask for, for `samples` training samples, of which `fewest` must stay, and `epochs`.

    `ordered` says that a ranking file gives the order; then removal may be at epoch 0, which is also the default for
    one round. Empty texts mean that nothing is removed. Raises InputError with every problem in one line.
    """
    amounts = _numbers(remove_n, "remove_n", float)
    if not any(amounts):
        if restore_every_epochs:
            raise InputError(
                f"{named('restore_every_epochs')} brings back removed samples, but {named('remove_n')} removes none"
            )
        return RemovalPlan()
    at = [int(epoch) for epoch in _numbers(remove_data_epoch, "remove_data_epoch", int)]
    if not at and ordered and len(amounts) == 1:
        at = [0]
    problems: list[str] = []
    removed = [_count(amount, samples, problems) for amount in amounts]
    if len(at) != len(removed):
        problems.append(
            f"{named('remove_n')} {remove_n} is {len(removed)} removal(s), {named('remove_data_epoch')} names "
            f"{len(at)} epoch(s); give one for each"
        )
    if any(later <= earlier for earlier, later in pairwise(at)):
        problems.append(f"the epochs of {named('remove_data_epoch')} must rise")
    if any(not 0 <= epoch < epochs for epoch in at):
        problems.append(f"{named('remove_data_epoch')} {remove_data_epoch}: epochs are 0 to {epochs - 1}")
    if 0 in at and not ordered and keep_lowest >= 0:
        problems.append(f"nothing is known of the samples at epoch 0; give {named('ordered')} or a later epoch")
    left = samples - sum(removed)
    if left <= max(keep_lowest, 0):
        kept = f" and keeping the {keep_lowest} easiest" if keep_lowest > 0 else ""
        problems.append(f"removing {sum(removed)}{kept} of {samples} samples leaves nothing to train on")
    elif left < fewest:
        problems.append(f"removing {sum(removed)} of {samples} samples leaves {left} to train on; {fewest} must stay")
    if restore_every_epochs < 0:
        problems.append(
            f"{named('restore_every_epochs')} {restore_every_epochs}: a number of epochs from 1, or 0 for never"
        )
    if problems:
        raise InputError("; ".join(problems))
    return RemovalPlan(
        tuple(Round(epoch, count) for epoch, count in zip(at, removed, strict=True)), keep_lowest, restore_every_epochs
    )


def choose_removed(order: Indices, remove: int, keep_lowest: int, generator: np.random.Generator) -> Indices:
    """The `remove` samples that go, of those still trained on, `order` (n,) naming them from the easiest on."""
    if keep_lowest < 0:
        return generator.permutation(order)[:remove]
    return order[keep_lowest : keep_lowest + remove]


def _numbers(text: str, setting: str, kind: type[int] | type[float]) -> Sequence[float]:
    try:
        return [kind(part) for part in text.split("-")] if text else []
    except ValueError:
        raise InputError(
            f"{named(setting)} {text}: expected {'epochs' if kind is int else 'numbers'} joined by dashes, as in 40-70"
        ) from None


def _count(amount: float, samples: int, problems: list[str]) -> int:
    """A number of samples of an amount, which is a number from 1 or a fraction below it."""
    if 0 < amount < 1:
        count = round(amount * samples)
        if not count:
            problems.append(f"{named('remove_n')} {amount:g}: less than one of {samples} samples")
        return count
    if not math.isfinite(amount) or amount < 1 or amount != int(amount):
        problems.append(f"{named('remove_n')} {amount:g}: a whole number of samples, or a fraction between 0 and 1")
        return 0
    return int(amount)
