"""An npz file whose entries have other targets than one class each: labels, numbers, masks, or none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from edge.data.npz import NpzEntries
from edge.data.preprocess import Preprocess
from edge.data.stored_array import StoredArray
from edge.errors import InputError
from edge.tasks.task import Shape, Task


class NpzTargets(NpzEntries):
    """Entries with the targets of a task in an array of its name, one read at a time too; all are looked at once.

    `output` is the shape of the network's answers. Names in the file must be those of the artifact, in its order.
    """

    def __init__(
        self,
        path: Path,
        class_names: Sequence[str],
        task: Task,
        output: Shape,
        spool: Path | None = None,
        preprocess: Preprocess | None = None,
    ) -> None:
        self.task = task
        self._output, self._class_names = output, class_names
        self._targets: StoredArray | None = None
        self._prepare = preprocess if task.masks_images and (preprocess is None or preprocess.takes_images) else None
        super().__init__(path, task.array, spool, preprocess)
        self.decoder_bytes += 0 if self._targets is None else 2 * self._targets.buffer.nbytes

    def open_targets(self, archive: ZipFile, names: list[str] | None, spool: Path | None) -> None:
        """Open the array, and refuse what the task cannot be trained on."""
        count, task = self._array.shape[0], self.task
        if not count:
            raise InputError(f"{self._path}: holds no {self._wanted}")
        if task.array is not None:
            if names is not None and names != list(self._class_names):
                raise InputError(
                    f"{self._path}: class_names {', '.join(names[:5])}; the artifact has "
                    f"{', '.join(self._class_names[:5])}: give targets in that order"
                )
            self._targets = StoredArray(archive, self._path, task.array, spool, self._odd)
            for index in range(count):
                self._targets.read(index)
                if problem := task.wrong(self._targets.buffer[None], self._output):
                    raise InputError(f"{self._path}: {task.array}[{index}]: {problem}")
        self.labels = np.zeros(count, np.int32)

    def _odd(self, shape: tuple[int, ...], dtype: np.dtype, fortran: bool) -> str | None:
        """What is wrong with the array, if anything: masks lie as the images do, before these are prepared."""
        each, entry = self.task.target(self._output), self._array.shape[1:]
        if self.task.masks_images:
            each = entry[:2] if self._wanted == "images" else entry[1:]
        if shape == (self._array.shape[0], *each) and dtype == self.task.dtype and not fortran:
            return None
        wanted = ", ".join(map(str, (self._array.shape[0], *each)))
        return f"{self.task.array} are {dtype} {shape}; needed is {np.dtype(self.task.dtype)} ({wanted})"

    def targets(self, samples: np.ndarray, out: np.ndarray) -> None:
        """The targets of samples, into `out` `(k, ...)`."""
        for row, sample in enumerate(samples):
            if self._targets is not None:
                self._targets.read(int(sample))
                target = self._targets.buffer
                out[row] = (target if self._prepare is None else self._prepare.mask(target)).reshape(out.shape[1:])

    def _checksum(self) -> int:
        return super()._checksum() ^ (0 if self._targets is None else self._targets.checksum)

    def close(self) -> None:
        """Close the file; unpacked copies vanish with it."""
        super().close()
        if self._targets is not None:
            self._targets.close()
