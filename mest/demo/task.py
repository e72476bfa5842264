"""The fine-tuning that the board and PyTorch both do, so that their memory can be compared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FineTuning:
    """What both sides do: SGD with momentum, a cosine from `lr` to zero, the board's order of batches by `seed`."""

    run: str
    learn: str
    test: str
    epochs: int
    batch_size: int
    lr: float
    momentum: float
    weight_decay: float
    threads: int
    seed: int
