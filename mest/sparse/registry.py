"""Names for schemes, scores and growth rules, one's own included."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Generic, TypeVar

from mest.errors import InputError
from mest.own import failure, import_own, is_own

T = TypeVar("T")


class Registry(Generic[T]):
    """A table from a name to what makes the thing, asked as `name`, `name:argument` or `module:Class[:argument]`.

    Registries are the one deliberate module-level state of this package: a name typed on a command line must find a
    class that another package defined.
    """

    def __init__(self, kind: str, base: type[T], construct: Callable[[type[T], str | None], T]) -> None:
        """`base`: what they are instances of; `construct` makes one from its class and what follows the colon."""
        self.kind = kind
        self._base = base
        self._construct = construct
        self._makers: dict[str, Callable[[str | None], T]] = {}
        self._classes: dict[str, type[T]] = {}

    def register(self, name: str, maker: Callable[[str | None], T]) -> None:
        """Makes `name` known. `maker` gets what follows the colon, or None. Raises InputError for a taken name."""
        if name in self._makers:
            raise InputError(f"{self.kind} {name!r} is registered already; choose another name")
        self._makers[name] = maker

    def register_class(self, made: type[T]) -> type[T]:
        """Makes a class known by its `name`, and returns it: what the decorators are made of."""
        self.register(self._name(made, made.__name__), lambda argument: self._construct(made, argument))
        self._classes[made.name] = made  # type: ignore[attr-defined]
        return made

    @property
    def names(self) -> tuple[str, ...]:
        """All known names, sorted."""
        return tuple(sorted(self._makers))

    def make(self, text: str) -> T:
        """What `text` names. Raises InputError with the names that would have worked."""
        name, colon, argument = text.partition(":")
        if name in self._makers:
            return self._makers[name](argument if colon else None)
        if is_own(text):
            return self._imported(text)
        close = difflib.get_close_matches(name, self.names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise InputError(
            f"unknown {self.kind} {text!r}; {hint}known: {', '.join(self.names)}, and one's own as module:NAME"
        )

    def _imported(self, text: str) -> T:
        module, _, rest = text.partition(":")
        attribute, colon, argument = rest.partition(":")
        what = f"{self.kind} {text!r}"
        found = import_own(what, module, attribute)
        if isinstance(found, type) and issubclass(found, self._base):
            self._refuse_taken(found, what)
            try:
                return self._construct(found, argument if colon else None)
            except InputError:
                raise
            except Exception as failed:  # it is the user's code: whatever it raises is said in one line
                raise InputError(f"{what}: {failure('making one', failed)}") from failed
        if not isinstance(found, self._base) or colon:
            given = f"the class {found.__name__}" if isinstance(found, type) else f"a {type(found).__name__}"
            raise InputError(f"{what}: {attribute} is {given}, not a mest.sparse.{self._base.__name__}")
        self._refuse_taken(type(found), what)
        return found

    def _name(self, made: type[T], what: str) -> str:
        name = getattr(made, "name", None)
        if not isinstance(name, str) or not name:
            raise InputError(f"{what}: the class needs a text `name`, by which runs and artifacts call it")
        return name

    def _refuse_taken(self, made: type[T], what: str) -> None:
        """A name says what something is wherever it is read again: two things must not bear one."""
        name = self._name(made, what)
        if name in self._makers and self._classes.get(name) is not made:
            raise InputError(f"{what}: calls itself {name!r}, as another {self.kind} does; choose another name")
