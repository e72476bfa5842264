"""The fine-tuning that the board and PyTorch both do, so that their memory can be compared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FineTuning:
    """What both sides do: SGD with momentum, a cosine from `lr` to zero, batches in a new order every epoch.

    `order` names an npy file with the sample numbers of every epoch, `(epochs, n)`; without it `seed` draws them.
    """

    run: str
    learn: str
    test: str
    epochs: int
    batch_size: int
    lr: float
    threads: int
    seed: int
    momentum: float = 0.9
    weight_decay: float = 1e-4
    order: str | None = None
