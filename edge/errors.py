"""The ways a board command refuses. Each carries the exit code that the command line returns."""

from __future__ import annotations


class EdgeError(Exception):
    """A refusal with one clear line: what was given, what is allowed, what to do."""

    exit_code = 1


class InputError(EdgeError):
    """Bad input or usage, unreadable data, a full disk, a loss that is no longer finite."""

    exit_code = 2


class BudgetError(EdgeError):
    """The memory budget cannot be met, or was hit while running."""

    exit_code = 3


class DamagedError(EdgeError):
    """An artifact or a state that is truncated, altered or not ours."""

    exit_code = 4
