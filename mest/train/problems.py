"""Refusals gathered, so that a user mends all of them at once."""

from __future__ import annotations

from collections.abc import Sequence

from mest.errors import InputError


class Problems:
    """Collects refusals, so that a user mends all of them at once."""

    def __init__(self, found: Sequence[str] = ()) -> None:
        self.found = list(found)

    def add(self, problem: str) -> None:
        """Note one problem."""
        self.found.append(problem)

    def raise_if_any(self) -> None:
        """Raise InputError with all of them in one line."""
        if self.found:
            raise InputError("; ".join(self.found))
