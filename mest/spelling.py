"""How a message names a setting: by its field, as a program gives it, or as the command line spells it.

The same idea as `edge.spelling`, which knows nothing of this package: `mest.ranking` is used by programs too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Spelling = Callable[[str], str]

_SPELLING: ContextVar[Spelling] = ContextVar("spelling", default=str)


def named(setting: str) -> str:
    """A setting by the name of its field, or as it is spelled now."""
    return _SPELLING.get()(setting)


@contextmanager
def spelled(spelling: Spelling) -> Iterator[None]:
    """Let messages name settings as `spelling` writes a field."""
    token = _SPELLING.set(spelling)
    try:
        yield
    finally:
        _SPELLING.reset(token)
