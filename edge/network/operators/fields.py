"""What a field of an operator may hold: its bounds, and how network.json has it.

A field says it once, `stride: Pair = field(metadata=holds(STEPS))`; reading, writing and the tests go by that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import Field, dataclass
from typing import Any

from edge.files.fields import Fields

MAX_DIMENSION = 2**24


class FieldKind(ABC):
    """What one field holds."""

    @abstractmethod
    def read(self, source: Fields, name: str) -> Any:
        """The checked value of a field of network.json; raises DamagedError."""

    def left_out(self, value: Any) -> bool:
        """True for a value that network.json does not state."""
        return False


@dataclass(frozen=True)
class Integer(FieldKind):
    """A whole number from `low` on. One with a `default` is stated only where it differs."""

    low: int
    default: int | None = None

    def read(self, source: Fields, name: str) -> int:
        """The number."""
        if self.default is not None and not source.has(name):
            return self.default
        return source.integer(name, self.low, MAX_DIMENSION)

    def left_out(self, value: int) -> bool:
        """True for the default."""
        return self.default is not None and value == self.default


@dataclass(frozen=True)
class Integers(FieldKind):
    """Whole numbers from `low` on, `count` of them if given."""

    low: int
    count: int | None = None

    def read(self, source: Fields, name: str) -> tuple[int, ...]:
        """The numbers."""
        return source.integers(name, self.low, MAX_DIMENSION, self.count)


@dataclass(frozen=True)
class Number(FieldKind):
    """A finite number within bounds, both included. One with a `default` is stated only where it differs."""

    low: float
    high: float
    default: float | None = None

    def read(self, source: Fields, name: str) -> float:
        """The number."""
        if self.default is not None and not source.has(name):
            return self.default
        return source.number(name, self.low, self.high)

    def left_out(self, value: float) -> bool:
        """True for the default."""
        return self.default is not None and value == self.default


@dataclass(frozen=True)
class Numbers(FieldKind):
    """`count` finite numbers within bounds, both included; None, and not stated, where there are none."""

    low: float
    high: float
    count: int

    def read(self, source: Fields, name: str) -> tuple[float, ...] | None:
        """The numbers."""
        if not source.has(name):
            return None
        found = source.numbers(name)
        if len(found) != self.count or not self.low <= min(found) <= max(found) <= self.high:
            source.fail(f"{name!r} must have {self.count} numbers from {self.low:g} to {self.high:g}")
        return found

    def left_out(self, value: tuple[float, ...] | None) -> bool:
        """True where there are none."""
        return value is None


@dataclass(frozen=True)
class Choice(FieldKind):
    """One of a few words."""

    allowed: tuple[str, ...]

    def read(self, source: Fields, name: str) -> str:
        """The word."""
        return source.choice(name, self.allowed)


@dataclass(frozen=True)
class Flag(FieldKind):
    """True or false. One with a `default` is stated only where it differs, so that older files are what they were."""

    default: bool | None = None

    def read(self, source: Fields, name: str) -> bool:
        """The flag."""
        if self.default is not None and not source.has(name):
            return self.default
        return source.boolean(name)

    def left_out(self, value: bool) -> bool:
        """True for the default."""
        return self.default is not None and value == self.default


@dataclass(frozen=True)
class Text(FieldKind):
    """A name, or null where `optional`."""

    optional: bool = False

    def read(self, source: Fields, name: str) -> str | None:
        """The name."""
        return source.optional_text(name) if self.optional else source.text(name)


@dataclass(frozen=True)
class Texts(FieldKind):
    """A list of names."""

    def read(self, source: Fields, name: str) -> tuple[str, ...]:
        """The names."""
        return source.texts(name)


STEPS = Integers(1, 2)  # of a window, by axis
PADDING = Integers(0, 4)


def holds(kind: FieldKind) -> dict[str, FieldKind]:
    """The metadata of a dataclass field that holds this."""
    return {"holds": kind}


def kind_of(field: Field[Any]) -> FieldKind:
    """What a field of an operator holds."""
    kind: FieldKind = field.metadata["holds"]
    return kind
