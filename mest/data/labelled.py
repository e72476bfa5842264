"""Labelled images for a model that is there: every image of what is given, under the model's own classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from mest.data.arrays import IMAGES, INPUTS, Arrays, load_npz, part_of, resized
from mest.data.dataset import DataSpec, read_arrays, refuse_for_numbers, refuse_for_task
from mest.data.folder import only_readable, opened, read_parts
from mest.data.images import Images, ImagesInMemory
from mest.data.preprocess import Preprocess, size_of
from mest.data.survey import survey
from mest.data.unsorted import names_of, read_unsorted, with_targets
from mest.errors import InputError


@dataclass(frozen=True)
class Labelled:
    """Images whose labels are the model's; `skipped` could not be read; `notes` are for a person."""

    images: Images
    skipped: int = 0
    notes: tuple[str, ...] = ()


def open_labelled(spec: DataSpec, preprocess: Preprocess, class_names: Sequence[str], threads: int = 1) -> Labelled:
    """Return all images of what `spec` names, or those that it keeps for testing, prepared by `preprocess`.

    The board evaluates the same images: what an npz file marks as `test`, what lies in a folder's `test/` (or `valid/`,
    `val/`), else all of them. Raises InputError for a class that `class_names` lack.
    """
    kind, _, rest = spec.name.partition(":")
    refuse_for_task(spec)
    if not preprocess.takes_images:
        refuse_for_numbers(spec)
        found = load_npz(Path(rest), INPUTS, spec.task)
        return Labelled(part_of(found, _numbers(found, class_names, spec), _tested(found)))
    if kind == "imagefolder" and rest:
        return _of_folder(spec, Path(rest), preprocess, class_names, threads)
    if kind == "npz" and rest:
        found = load_npz(Path(rest), IMAGES, spec.task)
        numbers, chosen = _numbers(found, class_names, spec), _tested(found)
        images = ImagesInMemory(numbers[chosen], found.entries[chosen])
    else:
        _, stored, names, _ = read_arrays(spec)
        assert isinstance(stored, ImagesInMemory)  # only an npz file holds anything else
        labels = _mapped(names, class_names, spec.name)[stored.labels] if spec.task.of_classes else stored.labels
        images = ImagesInMemory(labels, stored.array)
    return Labelled(resized(images, preprocess))


def _tested(found: Arrays) -> npt.NDArray[np.bool_]:
    """The entries that the file marks for testing, or all of them."""
    return np.ones(len(found.labels), bool) if found.test is None else found.test


def composed(name: str) -> str:
    """Return the name in Unicode's composed form (NFC), in which the same name is the same text."""
    return normalize("NFC", name)


def _of_folder(
    spec: DataSpec, root: Path, preprocess: Preprocess, class_names: Sequence[str], threads: int
) -> Labelled:
    if not spec.task.of_classes:
        return _of_unsorted(spec, root, preprocess, class_names, threads)
    parts = read_parts(root, fewest=1)
    listing = parts.test or parts.train
    numbers = _mapped(listing.classes, class_names, str(listing.root))
    look = survey(listing.files, spec.unreadable, threads)
    listing = only_readable(listing, look.readable)
    listing = replace(listing, labels=numbers[listing.labels])
    images = opened([listing], preprocess, size_of(preprocess), threads)[0]
    return Labelled(images, int((~look.readable).sum()), (*parts.notes, *look.notes))


def _of_unsorted(
    spec: DataSpec, root: Path, preprocess: Preprocess, class_names: Sequence[str], threads: int
) -> Labelled:
    parts = read_unsorted(root, spec.task)
    listing = parts.test or parts.train
    look = survey(listing.files, spec.unreadable, threads)
    listing = only_readable(listing, look.readable)
    images = opened([listing], preprocess, size_of(preprocess), threads)[0]
    images = with_targets(images, listing, spec.task, preprocess)
    refuse_other_names(names_of(root, spec.task, [images]), class_names, spec)
    return Labelled(images, int((~look.readable).sum()), (*parts.notes, *look.notes))


def _mapped(found: Sequence[str], wanted: Sequence[str], where: str) -> npt.NDArray[np.int64]:
    """The model's number of every class that was found, int64; raises InputError for one that it does not have."""
    numbers = {composed(name): number for number, name in enumerate(wanted)}
    unknown = sorted(set(found) - set(numbers))
    if unknown:
        raise InputError(
            f"--data {where}: class {unknown[0]!r} is not one of the run's {len(wanted)} classes "
            f"({', '.join(wanted[:10])}{', …' if len(wanted) > 10 else ''})"
        )
    return np.array([numbers[name] for name in found], np.int64)


def _numbers(found: Arrays, class_names: Sequence[str], spec: DataSpec) -> npt.NDArray[Any]:
    """The model's class number of every image of an npz file, int64 `(n,)`, or the targets of another task.

    Without names in the file, a label is the name of a class where classes are called by such numbers, else the number
    of one. Targets of another task must have the model's names in its order.
    """
    where = spec.name
    if not spec.task.of_classes:
        refuse_other_names(found.class_names or (), class_names, spec)
        return found.labels
    used, position = np.unique(found.labels, return_inverse=True)
    if found.class_names is not None:
        return _mapped(found.class_names, class_names, where)[found.labels]
    texts = [str(label) for label in used.tolist()]
    if set(texts) <= set(class_names):
        return _mapped(texts, class_names, where)[position]
    if used[-1] >= len(class_names):
        raise InputError(f"--data {where}: label {used[-1]}; allowed are 0 to {len(class_names) - 1}")
    return found.labels.astype(np.int64)


def refuse_other_names(found: Sequence[str], wanted: Sequence[str], spec: DataSpec) -> None:
    """Raise InputError unless the targets of data are a run's: its names in its order, or numbers without names.

    Masks may lack the classes with the highest numbers.
    """
    plain = tuple(map(str, range(len(found))))
    count = len(found) <= len(wanted) if spec.task.masks_images else len(found) == len(wanted)
    if not count or (tuple(found) not in (plain, tuple(wanted))):
        raise InputError(
            f"--data {spec.name}: {len(found)} names of targets ({', '.join(found[:3])}, ...), the run has "
            f"{len(wanted)} ({', '.join(wanted[:3])}, ...); give data of the same, in the same order"
        )
