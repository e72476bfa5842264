"""JSON values become frozen dataclasses again: the mirror of `dataclasses.asdict`, refusing what does not fit."""

from __future__ import annotations

import math
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from edge.errors import DamagedError
from edge.files.fields import MAX_INTEGER, brief

T = TypeVar("T")


@lru_cache(maxsize=64)
def type_hints(wanted: Any) -> dict[str, Any]:
    """The resolved types of a dataclass's fields, looked up once per class: a record holds hundreds of buffers."""
    return get_type_hints(wanted)


def decode(wanted: type[T], value: Any, where: str) -> T:
    """The dataclass `wanted` from a JSON object; raises DamagedError naming the place.

    Missing fields take their default, unknown ones are refused, `int` is accepted for `float` and bool for neither.
    """
    if not isinstance(value, dict):
        raise DamagedError(f"{where}: {type(value).__name__} where an object is expected")
    known = {entry.name: entry for entry in fields(wanted)}  # type: ignore[arg-type]
    hints = type_hints(wanted)  # type: ignore[arg-type]
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise DamagedError(f"{where}: unknown field {unknown[0]!r}; known are {', '.join(known)}")
    arguments: dict[str, Any] = {}
    for name, entry in known.items():
        if name in value:
            arguments[name] = _value(hints[name], value[name], f"{where}.{name}")
        elif entry.default is MISSING and entry.default_factory is MISSING:
            raise DamagedError(f"{where}: field {name!r} is missing")
    try:
        return wanted(**arguments)
    except ValueError as broken:
        raise DamagedError(f"{where}: {broken}") from None


def _value(wanted: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(wanted), get_args(wanted)
    if wanted is Any:
        return value
    if origin in (Union, UnionType):
        return _union(arguments, value, where)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise DamagedError(f"{where}: {brief(value)} is none of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise DamagedError(f"{where}: {type(value).__name__} where a list is expected")
        return tuple(_value(arguments[0], one, f"{where}[{index}]") for index, one in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise DamagedError(f"{where}: {type(value).__name__} where an object is expected")
        return {str(key): _value(arguments[1], one, f"{where}.{key}") for key, one in value.items()}
    if is_dataclass(wanted):
        return decode(wanted, value, where)  # type: ignore[arg-type]
    return _plain(wanted, value, where)


def _union(allowed: tuple[Any, ...], value: Any, where: str) -> Any:
    """The value as None or as the first of the allowed types that takes it."""
    present = [one for one in allowed if one is not type(None)]
    if value is None and len(present) < len(allowed):
        return None
    for one in present[:-1]:
        try:
            return _value(one, value, where)
        except DamagedError:
            continue
    return _value(present[-1], value, where)


def _plain(wanted: type, value: Any, where: str) -> Any:
    accepted: tuple[type, ...] = (int, float) if wanted is float else (wanted,)
    fits = isinstance(value, accepted) and (wanted is bool or not isinstance(value, bool))
    if not fits or (isinstance(value, float) and not math.isfinite(value)) or not _countable(value):
        raise DamagedError(f"{where}: {brief(value)} where {wanted.__name__} is expected")
    return value


def _countable(value: Any) -> bool:
    """False for an integer that no count, size or time of ours can be, and that floats cannot hold."""
    return not isinstance(value, int) or abs(value) <= MAX_INTEGER
