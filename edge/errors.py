"""The ways a board command refuses. Each carries the exit code that the command line returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class EdgeError(Exception):
    """A refusal with one clear line: what was given, what is allowed, what to do."""

    exit_code = 1
    answer: Mapping[str, Any] = {}  # plain JSON: the figures that the message speaks of, for a program


class InputError(EdgeError):
    """Bad input or usage, unreadable data, a full disk, a loss that is no longer finite."""

    exit_code = 2


class ClosedError(InputError):
    """Something that needs the engine was asked of a model that is closed."""

    def __init__(self) -> None:
        super().__init__("the model is closed; load it again")


class StopRequested(Exception):
    """A stop was asked for between two batches of something that leaves nothing behind."""


class BudgetError(EdgeError):
    """The memory budget cannot be met, or was hit while running.

    `answer` of one that no plan meets has `budget_bytes`, `smallest_budget_bytes` (the least that would do) and the
    plan of that budget.
    """

    exit_code = 3

    def __init__(self, message: str, answer: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.answer = answer or {}

    def also(self, more: str) -> BudgetError:
        """The same refusal with more to say."""
        return BudgetError(f"{self}; {more}", self.answer)


class DamagedError(EdgeError):
    """An artifact or a state that is truncated, altered or not ours."""

    exit_code = 4
