"""Names for schemes, scores and growth rules, one's own included."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from typing import Generic, TypeVar

from mest.errors import InputError

T = TypeVar("T")


class Registry(Generic[T]):
    """A table from a name to what makes the thing, asked as `name`, `name:argument` or `package.module:attribute`.

    Registries are the one deliberate module-level state of this package: a name typed on a command line must find a
    class that another package defined.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._makers: dict[str, Callable[[str | None], T]] = {}

    def register(self, name: str, maker: Callable[[str | None], T]) -> None:
        """Makes `name` known. `maker` gets what follows the colon, or None. Raises InputError for a taken name."""
        if name in self._makers:
            raise InputError(f"{self.kind} {name!r} is registered already; choose another name")
        self._makers[name] = maker

    @property
    def names(self) -> tuple[str, ...]:
        """All known names, sorted."""
        return tuple(sorted(self._makers))

    def make(self, text: str) -> T:
        """What `text` names. Raises InputError with the names that would have worked."""
        name, colon, argument = text.partition(":")
        if name in self._makers:
            return self._makers[name](argument if colon else None)
        if colon and "." in name:
            return self._imported(name, argument)
        close = difflib.get_close_matches(name, self.names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise InputError(f"unknown {self.kind} {text!r}; {hint}known: {', '.join(self.names)}")

    def _imported(self, module: str, attribute: str) -> T:
        try:
            made = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as reason:
            raise InputError(f"{self.kind} '{module}:{attribute}' cannot be imported: {reason}") from None
        return made() if isinstance(made, type) else made
