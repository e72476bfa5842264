"""What a probe found, in the words in which it is said before training."""

from __future__ import annotations

from mest.models.probe import Probe

LISTED = 4


def notes_of(found: Probe) -> tuple[str, ...]:
    """One line for each thing that a user would otherwise learn after training."""
    notes = []
    if found.unread:
        notes.append(f"evaluation never uses {_some(found.unread)}: never sparse, and not exported")
    if still := found.still - found.unread:
        notes.append(f"training never moves {_some(still)}: frozen on the board, too")
    if found.still_norms:
        notes.append(f"batch norm {_some(found.still_norms)} keeps its statistics while training: on the board, too")
    notes += [f"mest export will refuse this model: {departure}" for departure in found.departures]
    return tuple(notes)


def _some(names: frozenset[str]) -> str:
    """The first few names, and how many others."""
    listed = sorted(names)
    return ", ".join(listed[:LISTED]) + (f" and {len(listed) - LISTED} more" if len(listed) > LISTED else "")
