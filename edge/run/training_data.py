"""The samples of a run: one or two sources as one numbered set, its split, and what tells it from other data."""

from __future__ import annotations

import numpy as np

from edge.data.batches import Split, hold_out
from edge.data.preprocess import Preprocess
from edge.data.source import Source
from edge.errors import InputError
from edge.files.digest import sha256
from edge.handover.artifact import Artifact
from edge.plan.process import DataNeeds
from edge.run.needs import data_needs
from edge.run.settings import Settings
from edge.spelling import named

BY_SHARE, BY_MARK, BY_OTHER_DATA = "a share of --data", "what --data marks as test", "--eval-data"


class TrainingData:
    """The sources as one numbered set, and the split of it. `held_out_by` says who chose what is held out."""

    def __init__(self, source: Source, split: Split, held_out_by: str, marked: np.ndarray | None = None) -> None:
        self.source = source
        self.split = split
        self.held_out_by = held_out_by
        self._marked = marked

    @classmethod
    def of(cls, source: Source, held: Source | None, settings: Settings) -> TrainingData:
        """The set that `settings` split, or the sources as its two parts; no sample marked as test is trained on.

        Raises InputError for a single class, where samples have classes.
        """
        marked = source.test_indices
        learned = np.ones(len(source.labels), dtype=bool)
        if marked is not None:
            learned[marked] = False
        train = np.flatnonzero(learned).astype(np.int32)
        if held is not None:
            tested = np.arange(len(held.labels)) if held.test_indices is None else held.test_indices
            split = Split(train, (len(learned) + tested).astype(np.int32))
            source, by = _Joined(source, held), BY_OTHER_DATA
        elif marked is not None:
            split, by = Split(train, marked), BY_MARK
        else:
            split, by = hold_out(source.labels, settings.hold_out, settings.seed), BY_SHARE
        found = cls(source, split, by, marked)
        found.refuse_one_class(train)
        return found

    def refuse_one_class(self, train: np.ndarray) -> None:
        """Raise InputError unless the samples to train on are of two classes at least."""
        labels = self.source.labels[train]
        if len(labels) and not self.source.task.of_classes:
            return
        if not len(labels) or labels.min() == labels.max():
            raise InputError(
                f"{named('data')}: all samples to train on are of one class; fine-tuning needs at least two"
            )

    def with_split(self, split: Split) -> TrainingData:
        """The same samples, otherwise split."""
        found = TrainingData(self.source, split, self.held_out_by, self._marked)
        found.refuse_one_class(split.train)
        return found

    def fingerprint(self, keys: np.ndarray | None) -> str:
        """A SHA-256 of the labels and of what is marked, and of the keys of the samples if they are given.

        States of earlier versions have the one without keys.
        """
        digest = sha256()
        for array in (self.source.labels, self._marked, keys):
            if array is not None:
                digest.update(np.ascontiguousarray(array).data.cast("B"))
        return str(digest.hexdigest())

    def needs(self, artifact: Artifact) -> DataNeeds:
        """What reading it takes."""
        return data_needs(artifact, len(self.source.labels), self.source.decoder_bytes)


class _Joined:
    """Two sources as one, the second numbered after the first."""

    def __init__(self, first: Source, second: Source) -> None:
        self._first, self._second = first, second
        self.task = first.task
        self.labels = np.concatenate([first.labels, second.labels])
        self.test_indices: np.ndarray | None = None
        self.decoder_bytes = max(first.decoder_bytes, second.decoder_bytes)
        self.one_size = first.one_size if first.one_size == second.one_size else None
        self.skipped = first.skipped + second.skipped
        self.notes = (*first.notes, *second.notes)

    def pixels(self, index: int, preprocess: Preprocess) -> np.ndarray:
        count = len(self._first.labels)
        source = self._first if index < count else self._second
        return source.pixels(index if index < count else index - count, preprocess)

    def targets(self, samples: np.ndarray, out: np.ndarray) -> None:
        count = len(self._first.labels)
        for row, sample in enumerate(samples):
            source, index = (self._first, sample) if sample < count else (self._second, sample - count)
            source.targets(np.array([index]), out[row : row + 1])

    def keys(self) -> np.ndarray:
        # An image may stand in both, as two samples.
        return np.concatenate([self._first.keys(), ~self._second.keys()])

    def close(self) -> None:
        self._first.close()
        self._second.close()
