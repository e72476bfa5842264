"""Values of Flower's configurations, which are plain and of whatever type somebody wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.errors import InputError


def typed(given: Mapping[str, Any], name: str, default: Any, what: str) -> Any:
    """The value of a name, of the default's type, a whole number for a float included; the default where none is given.

    `what` says in a refusal whose configuration it is. Raises InputError for a value of another type.
    """
    value = given.get(name, default)
    if type(default) is float and type(value) is int:
        value = float(value)
    if type(value) is not type(default):
        raise InputError(f"{what}: {name} {value!r:.80}: must be like {default!r}")
    return value
