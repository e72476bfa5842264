"""How a message names a setting: by its field, as a program gives it, or as the command line spells it.

A library knows settings by their fields alone. Whoever reads its messages elsewhere, as users of a command line do, is
spoken to in their own words while `spelled` holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Spelling = Callable[[str, bool | None], str]


def _field(setting: str, value: bool | None) -> str:
    return setting if value is None else f"{setting}={value}"


_SPELLING: ContextVar[Spelling] = ContextVar("spelling", default=_field)


def named(setting: str, value: bool | None = None) -> str:
    """A setting by the name of its field, or as it is spelled now; with a value, how a switch is given."""
    return _SPELLING.get()(setting, value)


@contextmanager
def spelled(spelling: Spelling) -> Iterator[None]:
    """Let messages name settings as `spelling` writes a field and, for a switch that is given, its value."""
    token = _SPELLING.set(spelling)
    try:
        yield
    finally:
        _SPELLING.reset(token)
