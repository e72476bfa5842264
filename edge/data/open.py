"""Opens labelled data on the board: a folder of images per class or an npz file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge.data.preprocess import Preprocess
from edge.data.source import UNREADABLE, Source
from edge.errors import InputError
from edge.spelling import named
from edge.tasks.registry import CLASSIFICATION
from edge.tasks.task import Shape, Task


def open_source(
    where: str,
    class_names: Sequence[str],
    spool: Path | None = None,
    preprocess: Preprocess | None = None,
    unreadable: str = "refuse",
    decode_all: bool = False,
    task: Task = CLASSIFICATION,
    output: Shape = (),
) -> Source:
    """The data of `DIR`, `imagefolder:DIR`, `FILE.npz` or `npz:FILE`, with labels in the order of `class_names`.

    `spool` is a folder for the unpacked numbers of a compressed npz (default: beside the file). `preprocess` says how
    large images have to be decoded, or that the model takes arrays of numbers, which an npz file alone holds. With
    `decode_all`, or where `unreadable` is "skip", every image file is decoded once, so that a damaged one is met now;
    of the others the headers are read. Another task than classification has its own targets, for answers of shape
    `output`. Raises InputError.
    """
    if unreadable not in UNREADABLE:
        raise InputError(f"{named('unreadable')} {unreadable}: allowed are {' and '.join(UNREADABLE)}")
    takes_images = preprocess is None or preprocess.takes_images
    if not takes_images and unreadable != "refuse":
        raise InputError(
            f"{named('unreadable')} {unreadable}: is for image files, and the model takes numbers; leave it out"
        )
    kind, _, rest = where.partition(":")
    path = Path(rest if kind in ("npz", "imagefolder") else where)
    if not path.exists():
        raise InputError(
            f"{named('data')} {where}: no such file or folder; give a folder with one folder per class, or an npz"
        )
    if not takes_images and path.is_dir():
        raise InputError(
            f"{named('data')} {where}: is a folder, and the model takes windows or vectors of numbers; give an npz "
            "file with 'inputs' and 'labels'"
        )
    if path.is_dir():
        if not task.of_classes:
            return _unsorted(where, path, class_names, preprocess, unreadable, decode_all, task, output)
        from edge.data.folder import FolderSource  # each only where it is used: a board process holds little

        return FolderSource(path, class_names, preprocess, unreadable, decode_all)
    if path.suffix == ".npz" or kind == "npz":
        if not task.of_classes:
            from edge.data.npz_targets import NpzTargets

            return NpzTargets(path, class_names, task, output, spool, preprocess)
        from edge.data.npz import NpzSource

        return NpzSource(path, class_names, spool, preprocess)
    raise InputError(
        f"{named('data')} {where}: neither a folder nor an .npz file; give a folder with one folder per class"
    )


def _unsorted(
    where: str,
    path: Path,
    class_names: Sequence[str],
    preprocess: Preprocess | None,
    unreadable: str,
    decode_all: bool,
    task: Task,
    output: Shape,
) -> Source:
    """A folder for a task whose samples have no classes: images alone, or images with masks."""
    from edge.data.unsorted_folder import MaskFolder, UnsortedFolder

    if task.array is None:
        return UnsortedFolder(path, task, preprocess, unreadable, decode_all)
    if not task.masks_images or preprocess is None:
        raise InputError(
            f"{named('data')} {where}: is a folder, whose images have classes; the task {task.name} takes an npz file "
            f"with {task.array!r}"
        )
    return MaskFolder(path, class_names, task, output, preprocess, unreadable, decode_all)
