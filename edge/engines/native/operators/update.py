"""What begins and ends an optimizer step: zeros in all gradients, and the update of all that is trained."""

from __future__ import annotations

from dataclasses import dataclass

from edge.engines.native.places import Places
from edge.engines.native.rows import Row
from edge.engines.native.steps import Spec, Steps
from edge.libmest import program as structs


@dataclass(frozen=True, slots=True)
class UpdateRow(Row):
    """The optimizer."""

    def made(self, places: Places) -> structs.Update:
        """The row of the table."""
        return places.update


def emit_zeros(steps: Steps) -> None:
    """No gradient of a parameter holds anything from before."""
    steps.emit(Spec("zero", "zero gradients", all_gradients=True))


def emit_update(steps: Steps) -> None:
    """Every trained tensor moves."""
    steps.emit(Spec("update", "update", rows={"update": UpdateRow()}))
