"""Who is told how a run of fine-tuning goes, beside the line on the terminal."""

from __future__ import annotations

from dataclasses import dataclass

from edge.run.position import Position


@dataclass(frozen=True)
class EpochEnd:
    """An epoch that ended, before the state that says so is saved.

    `position` is the one after it: the last of its `epochs` has loss and accuracies. `steps` are the epoch's optimizer
    steps, `learning_rate` is that of the last one, `weight_sparsity` what it left, zeros ÷ weights of the sparse
    layers, and `resident_bytes` what the process holds, None where nobody counts.
    """

    position: Position
    steps: int
    learning_rate: float
    weight_sparsity: float
    resident_bytes: int | None


class Listener:
    """Is told nothing that it must act on; every method does nothing until a subclass says otherwise."""

    def begin(self) -> None:
        """Everything was checked and planned; the first step comes next. What this raises ends the run."""

    def epoch_done(self, end: EpochEnd) -> None:
        """An epoch ended. After a kill the same epoch may be told again, with the same numbers."""
