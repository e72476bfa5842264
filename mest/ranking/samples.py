"""The samples a run trains on: the one object that a trainer holds for data-efficient training.

    samples = TrainingSamples(len(data.train), training, plan, ranking=ranking, track=True, seed=seed)
    for epoch in range(epochs):
        change = samples.start_epoch(epoch, look)   # look(indices) -> correct, an evaluation pass; may cost time
        for images, labels, indices in batches(samples.active):
            outputs = ...
            if samples.counting:
                samples.presented(indices, outputs.argmax(1) == labels)
        samples.end_epoch()
    write_ranking(path, samples.ranking(provenance))

Every process of a distributed run holds one and calls the same methods with its own share of each step; all of them
then remove the same samples. `look` must say the same on every process, though running statistics may differ.

Under mixup no output of a step is that of one sample; pass `look_again(model, images, labels)` and `extra_look=True`.

What is saved is counted here: `trained` presentations against those that all samples would have had, and the evaluation
passes over removed samples and under mixup (`looked_at`), each about a third of a training step for the same sample.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mest.errors import DamagedError
from mest.ranking.forgetting import Flags, ForgettingTracker, Indices
from mest.ranking.presentations import EpochLog
from mest.ranking.ranking import Provenance, Ranking, rank
from mest.ranking.removal import RemovalPlan, choose_removed

Look = Callable[[Indices], Flags]


@dataclass(frozen=True)
class Change:
    """What happened to the training samples at the start of an epoch."""

    looked_at: int = 0
    restored: int = 0
    removed: int = 0


class TrainingSamples:
    """Which of the training samples are trained on now, and what is known of each."""

    def __init__(
        self,
        samples: int,
        training: Indices,
        plan: RemovalPlan | None = None,
        *,
        ranking: Ranking | None = None,
        track: bool = False,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        """Train on the indices `training` of a training set of `samples`, less what `plan` removes.

        With a `ranking` its order decides, without one the forgetting counts of this run, which are then kept; `track`
        keeps them anyhow. `seed` decides a random removal. `device` is where outcomes are noted during an epoch.
        """
        self.plan = plan or RemovalPlan()
        self.training = np.sort(np.asarray(training, np.int64))
        self._ranking = ranking
        self._seed = seed
        needs_counts = bool(self.plan.rounds) and ranking is None and self.plan.keep_lowest >= 0
        self.tracker = ForgettingTracker(samples) if track or needs_counts else None
        self._log = EpochLog(self.training.size, device) if self.tracker else None
        self._is_active = np.zeros(samples, np.bool_)
        self._is_active[self.training] = True
        self._came_back = np.zeros(samples, np.bool_)
        self._track = track
        self.counting = self.tracker is not None  # whether this epoch's presentations matter to anyone
        self._extra_look = False
        self.trained = self.trained_without_removal = self.looked_at = 0

    @property
    def active(self) -> Indices:
        """Ascending indices (k,) of the samples trained on in this epoch."""
        return np.flatnonzero(self._is_active).astype(np.int64)

    @property
    def removed(self) -> Indices:
        """Ascending indices of the training samples now left out."""
        return self.training[~self._is_active[self.training]]

    def start_epoch(self, epoch: int, look: Look | None = None) -> Change:
        """Bring back and remove what the plan says for `epoch`; call it once, before the epoch's batches are made.

        `look` classifies removed samples (indices ascending) in evaluation mode, without augmentation, and says of each
        whether it is right. Those that are wrong come back. The look counts as a presentation, so a sample that was
        right when it left has been forgotten once more and is not at once the easiest again. Where a ranking file
        gives the order, samples that came back move to its end.
        """
        looked_at = restored = 0
        left_out = self.removed
        if self.plan.restoring(epoch) and left_out.size:
            if look is None:
                raise ValueError("a plan that brings samples back needs a way to look at them")
            correct = np.asarray(look(left_out), np.bool_)
            if self.tracker:
                self.tracker.update(left_out, correct)
            self._is_active[left_out[~correct]] = True
            self._came_back[left_out[~correct]] = True
            looked_at, restored = left_out.size, int((~correct).sum())
            self.looked_at += looked_at
        leaving = self._leaving(epoch)
        self._is_active[leaving] = False
        later = any(each.epoch > epoch for each in self.plan.rounds)
        self.counting = self.tracker is not None and (self._track or later)
        return Change(looked_at, restored, leaving.size)

    def _leaving(self, epoch: int) -> Indices:
        remove = self.plan.removing(epoch)
        if not remove:
            return np.empty(0, np.int64)
        order = self._order()
        generator = np.random.default_rng((self._seed, epoch))
        return choose_removed(order[self._is_active[order]], remove, self.plan.keep_lowest, generator)

    def _order(self) -> Indices:
        """All samples from the one that goes first to the one that goes last."""
        if self._ranking is not None:
            order = self._ranking.indices
            back = self._came_back[order]
            return np.concatenate([order[~back], order[back]])
        return rank(self.tracker.counts()).indices if self.tracker else self.training

    def presented(self, indices: Tensor, correct: Tensor, extra_look: bool = False) -> None:
        """Note one step of this process: the samples (n,) presented and whether each was classified correctly (n,).

        `extra_look` says that judging them took an evaluation pass of its own.
        """
        if self._log is not None:
            self._log.record(indices, correct)
            self._extra_look = extra_look

    def end_epoch(self) -> None:
        """Count the epoch: what all processes presented, in the order of the steps."""
        if self.counting and self._log is not None and self.tracker is not None:
            self.tracker.update(*self._log.gather())
            self.looked_at += int(self._is_active.sum()) if self._extra_look else 0
        self.trained += int(self._is_active.sum())
        self.trained_without_removal += self.training.size

    def ranking(self, provenance: Provenance) -> Ranking:
        """The ranking of all samples by what this run forgot; raises ValueError if it did not keep counts.

        Samples that a ranking file removed before they were ever presented come first, with count 0, in its order.
        """
        if self.tracker is None:
            raise ValueError("this run kept no forgetting counts; train with track=True")
        by_counts = rank(self.tracker.counts(), provenance)
        early = np.isin(np.arange(self._is_active.size), self.training) & (self.tracker.presentations() == 0)
        if self._ranking is None or not early.any():
            return by_counts
        first = self._ranking.indices[early[self._ranking.indices]]
        seen = ~early[by_counts.indices]
        indices = np.concatenate([first, by_counts.indices[seen]])
        return Ranking(indices, np.concatenate([np.zeros_like(first), by_counts.counts[seen]]), provenance)

    @property
    def order_checksum(self) -> str | None:
        """The SHA-256 of the order that a ranking file gives; None without one."""
        if self._ranking is None:
            return None
        return hashlib.sha256(np.ascontiguousarray(self._ranking.indices, "<i8").data).hexdigest()

    @property
    def unseen(self) -> int:
        """How many samples of the whole set are never presented, because they are held out for validation."""
        return self._is_active.size - self.training.size

    def summary(self) -> dict[str, Any]:
        """What removal saved so far: presentations with and without it, and the evaluation passes that it cost."""
        whole = self.trained_without_removal
        return {
            "samples": int(self.training.size),
            "active": int(self._is_active.sum()),
            "trained_presentations": self.trained,
            "presentations_without_removal": whole,
            "evaluated": self.looked_at,
            "saved": round(1 - (self.trained + self.looked_at / 3) / whole, 6) if whole else 0.0,
        }

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to continue exactly, taken between two epochs; loadable with weights_only."""
        return {
            "active": torch.from_numpy(np.packbits(self._is_active)),
            "came_back": torch.from_numpy(np.packbits(self._came_back)),
            "samples": self._is_active.size,
            "counted": [self.trained, self.trained_without_removal, self.looked_at],
            "tracker": self.tracker.state_dict() if self.tracker else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`; raises DamagedError if it is of another number of samples or kept other things."""
        if state.get("samples") != self._is_active.size or (state.get("tracker") is None) != (self.tracker is None):
            raise DamagedError("the checkpoint's training samples are not those of this run; resume with its options")
        count = self._is_active.size
        self._is_active = np.unpackbits(state["active"].numpy(), count=count).astype(np.bool_)
        self._came_back = np.unpackbits(state["came_back"].numpy(), count=count).astype(np.bool_)
        self.trained, self.trained_without_removal, self.looked_at = state["counted"]
        if self.tracker:
            self.tracker.load_state_dict(state["tracker"])
