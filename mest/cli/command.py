"""What a command is: its options, its work, its JSON object and its text for a person."""

from __future__ import annotations

import argparse
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Context:
    """What the rim hands to a command beside its options.

    `stop` is polled at step boundaries by a command that leaves something to continue: it returns True once SIGINT or
    SIGTERM has arrived. Until it is polled, a signal ends the command where it stands.
    `progress` is True when bars may be drawn (standard error is a terminal); `quiet` when messages are unwanted.
    """

    stop: Callable[[], bool]
    progress: bool
    quiet: bool = False

    def say(self, message: str) -> None:
        """Write one message for a person to standard error, unless none is wanted."""
        if not self.quiet:
            print(message, file=sys.stderr, flush=True)


class Stopped(Exception):
    """Raised by a command that ended early on a signal and left a resumable checkpoint; says how to continue."""


class Command(ABC):
    """One command of `mest`. The docstring of a subclass is its help; its first line is the summary."""

    name: str
    takes_command = False  # True if words that follow `--` are a command of its own, `args.words`

    def configure(self, parser: argparse.ArgumentParser) -> None:  # noqa: B027 - a command may have no options
        """Add the command's own options to the parser."""

    @abstractmethod
    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        """Do the work and return the object that `--json` prints."""

    @abstractmethod
    def show(self, result: dict[str, Any]) -> str:
        """Return the text for standard output when `--json` is not given."""
