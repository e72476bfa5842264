"""Sparse training inside other people's loops: callbacks for the Trainers of Hugging Face and of Lightning.

Each takes the options of `mest.sparsify` and makes the sparsifier once the Trainer has made its optimizer. Accelerate
and timm need none: docs/own-loop.md shows the lines. A library is loaded when its callback is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mest.errors import InputError
from mest.install import how_to_install
from mest.loops.course import check_options

if TYPE_CHECKING:
    from mest.loops.huggingface import SparseTrainerCallback
    from mest.loops.lightning import SparseLightningCallback

__all__ = ["lightning_callback", "trainer_callback"]


def trainer_callback(
    *, steps_per_epoch: int | None = None, resume_from: str | Path | None = None, **options: Any
) -> SparseTrainerCallback:
    """The callback that makes a `transformers.Trainer` train sparse, with the options of `mest.sparsify`.

    Its `sparsifier` is there from the start of training on. Checkpoints of the Trainer hold the sparsifier's state as
    `mest_sparsifier.pt`; resuming finds it in `output_dir`, or in the folder `resume_from` where the checkpoint lies
    elsewhere. With `steps_per_epoch` the schedule counts so many optimizer steps as one of its epochs, which few and
    long epochs need. Raises InputError if transformers is missing or an option is none.
    """
    check_options(options, steps_per_epoch)
    try:
        from mest.loops.huggingface import SparseTrainerCallback
    except ModuleNotFoundError as missing:
        raise InputError(f"no {missing.name}: install it with {how_to_install('huggingface')}") from missing
    return SparseTrainerCallback(options, steps_per_epoch, resume_from)


def lightning_callback(*, steps_per_epoch: int | None = None, **options: Any) -> SparseLightningCallback:
    """The callback that makes a `lightning.Trainer` train sparse, with the options of `mest.sparsify`.

    Its `sparsifier` is there from the start of training on, and its state is part of Lightning's checkpoints. With
    `steps_per_epoch` the schedule counts so many optimizer steps as one of its epochs.
    Raises InputError if lightning is missing or an option is none.
    """
    check_options(options, steps_per_epoch)
    try:
        from mest.loops.lightning import SparseLightningCallback
    except ModuleNotFoundError as missing:
        raise InputError(f"no {missing.name}: install it with {how_to_install('lightning')}") from missing
    return SparseLightningCallback(options, steps_per_epoch)
