"""A result as JSON that every reader takes: the standard has no NaN and no infinity, so they become null by name."""

from __future__ import annotations

import json
import math
from typing import Any

NOT_FINITE = "not_finite"


def strict_json(result: Any, indent: int | None = None) -> str:
    """The result as one JSON object; `not_finite` in it says of each null that was a number what it was."""
    found: dict[str, str] = {}
    plain = _finite(result, (), found)
    if found and isinstance(plain, dict):
        plain[NOT_FINITE] = found
    return json.dumps(plain, sort_keys=indent is None, default=str, allow_nan=False, indent=indent)


def _finite(value: Any, place: tuple[str, ...], found: dict[str, str]) -> Any:
    """The value with null for every number that is not finite; `found` gets their places and what they were."""
    if isinstance(value, dict):
        return {key: _finite(one, (*place, str(key)), found) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one, (*place, str(number)), found) for number, one in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        found[".".join(place)] = str(value)
        return None
    return value
