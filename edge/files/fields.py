"""Strict reading of JSON that a stranger may have written: bounded, typed, and every complaint names file and place."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any, NoReturn

from edge.errors import DamagedError

MAX_NAME = 400  # characters
MAX_INTEGER = 2**53


class Fields:
    """A JSON object being read once: each field is taken by name and checked, and `done` refuses what is left over.

    `remedy` ends every complaint.
    """

    def __init__(self, content: object, file: str, place: str, remedy: str = "export the artifact again") -> None:
        self.file = file
        self.place = place
        self.remedy = remedy
        if not isinstance(content, dict):
            self.fail("expected an object")
        self._content: dict[str, Any] = dict(content)

    def fail(self, problem: str) -> NoReturn:
        """Raise a DamagedError that names the file and the place."""
        raise DamagedError(f"{self.file}: {self.place}: {problem}; {self.remedy}")

    def take(self, key: str) -> Any:
        """The raw value of a field."""
        if key not in self._content:
            self.fail(f"{key!r} is missing")
        return self._content.pop(key)

    def has(self, key: str) -> bool:
        """True if the field is there and not null; a null field counts as read."""
        if self._content.get(key, 0) is None:
            del self._content[key]
        return key in self._content

    def done(self) -> None:
        """Refuse fields that nobody asked for."""
        if self._content:
            self.fail(f"unknown field {min(self._content)!r:.60}")

    def text(self, key: str) -> str:
        """A printable, non-empty string of bounded length."""
        return self._text(self.take(key), key)

    def optional_text(self, key: str) -> str | None:
        """Like `text`, or None for null."""
        value = self.take(key)
        return None if value is None else self._text(value, key)

    def string(self, key: str) -> str:
        """Any text: a path, a reason, what another program wrote."""
        value = self.take(key)
        if not isinstance(value, str):
            self.fail(f"{key!r} must be text, not {brief(value)}")
        return value

    def choice(self, key: str, allowed: Collection[str]) -> str:
        """One of a few texts."""
        value = self.take(key)
        if not isinstance(value, str) or value not in allowed:
            self.fail(f"{key!r} must be one of {', '.join(allowed)}, not {brief(value)}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings as `text` takes them."""
        return tuple(self._text(value, key) for value in self.items(key))

    def integer(self, key: str, low: int = 0, high: int = MAX_INTEGER) -> int:
        """An integer within bounds, both included."""
        return self._integer(self.take(key), key, low, high)

    def integers(self, key: str, low: int, high: int, count: int | None = None) -> tuple[int, ...]:
        """A list of integers within bounds, of `count` entries if given."""
        values = self.items(key)
        if count is not None and len(values) != count:
            self.fail(f"{key!r} must have {count} entries, not {len(values)}")
        return tuple(self._integer(value, key, low, high) for value in values)

    def number(self, key: str, low: float, high: float) -> float:
        """A finite number within bounds, both included."""
        return self._number(self.take(key), key, low, high)

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of finite numbers of usual size."""
        values = self.items(key)
        return tuple(
            Fields({key: value}, self.file, self.place, self.remedy).number(key, -1e30, 1e30) for value in values
        )

    def rest(self) -> tuple[str, ...]:
        """The names that were not taken yet."""
        return tuple(self._content)

    def boolean(self, key: str) -> bool:
        """True or false."""
        value = self.take(key)
        if not isinstance(value, bool):
            self.fail(f"{key!r} must be true or false, not {brief(value)}")
        return value

    def items(self, key: str) -> list[Any]:
        """A list of anything."""
        value = self.take(key)
        if not isinstance(value, list):
            self.fail(f"{key!r} must be a list, not {brief(value)}")
        return value

    def mapping(self, key: str) -> dict[str, Any]:
        """An object of anything."""
        value = self.take(key)
        if not isinstance(value, dict):
            self.fail(f"{key!r} must be an object, not {brief(value)}")
        return value

    def objects(self, key: str) -> dict[str, Fields]:
        """An object of objects, each ready to be read."""
        return {
            self._text(name, key): Fields(content, self.file, f"{key} {name!r}", self.remedy)
            for name, content in self.mapping(key).items()
        }

    def _text(self, value: object, key: str) -> str:
        if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME or not value.isprintable():
            self.fail(f"{key!r} must hold printable text of 1 to {MAX_NAME} characters, not {brief(value)}")
        return value

    def _number(self, value: object, key: str, low: float, high: float) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            self.fail(f"{key!r} must be a number from {low} to {high}, not {brief(value)}")
        return float(value)

    def _integer(self, value: object, key: str, low: int, high: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.fail(f"{key!r} must hold integers from {low} to {high}, not {brief(value)}")
        return value


def brief(value: object) -> str:
    """A few characters that show what was given, however large it is."""
    if isinstance(value, dict | list):
        return f"a{'n object' if isinstance(value, dict) else ' list'} of {len(value)}"
    if isinstance(value, str):
        return ascii(value[:40])
    return f"{value!r:.40}"


def read_json(path: Path, max_bytes: int) -> object:
    """The content of a JSON file of bounded size; raises DamagedError for anything that is not plain, finite JSON."""
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read ({error.strerror or error}); export the artifact again") from None
    if len(content) > max_bytes:
        raise DamagedError(f"{path}: longer than the {max_bytes} bytes allowed; export the artifact again")
    return parse_json(content, str(path))


def parse_json(content: bytes, file: str, remedy: str = "export the artifact again") -> object:
    """What a JSON text holds; raises DamagedError, with file and remedy, for what is not plain, finite JSON."""
    try:
        return json.loads(
            content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite
        )
    except RecursionError:
        problem = "nested too deeply"
    except ValueError as error:
        problem = str(error)[:120]
    raise DamagedError(f"{file}: not the JSON that mest writes ({problem}); {remedy}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a field appears twice")
    return content


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value
