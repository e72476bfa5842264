"""The ways a workstation command refuses. Each carries the exit code that the command line returns."""

from __future__ import annotations


class MestError(Exception):
    """A refusal with one clear line: what was given, what is allowed, what to do."""

    exit_code = 1


class InputError(MestError):
    """Bad input or usage, unreadable data, a full disk, a loss that is no longer finite."""

    exit_code = 2


class DamagedError(MestError):
    """A run, checkpoint or ranking that is truncated, altered or not ours."""

    exit_code = 4
