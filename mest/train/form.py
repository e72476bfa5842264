"""Whether a JSON value has the form that is expected of it, and if not, where it first differs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

Form = Any  # a type, None, a tuple of alternatives, [form] for a list, {name: form} for an object, {...: form} for any


def misfit(value: Any, form: Form, place: str) -> str | None:
    """Return what is wrong with a value ("model.classes: 'ten' where int is expected"), or None if nothing is.

    An object may have more fields than its form; floats and integers are finite and of a size that both can hold.
    """
    if isinstance(form, tuple):
        found = [misfit(value, one, place) for one in form]
        return None if None in found else found[0]
    if isinstance(form, list):
        if not isinstance(value, list):
            return _wrong(value, "a list", place)
        return _first(misfit(one, form[0], f"{place}[{number}]") for number, one in enumerate(value))
    if isinstance(form, dict):
        if not isinstance(value, dict):
            return _wrong(value, "an object", place)
        if ... in form:
            return _first(misfit(one, form[...], f"{place}.{name}") for name, one in value.items())
        missing = [name for name in form if name not in value]
        if missing:
            return f"{place + '.' if place else ''}{missing[0]} is missing"
        return _first(misfit(value[name], one, f"{place}.{name}" if place else name) for name, one in form.items())
    if form is None:
        return None if value is None else _wrong(value, "null", place)
    accepted = (int, float) if form is float else (form,)
    fits = isinstance(value, accepted) and (form is bool or not isinstance(value, bool))
    if fits and form in (int, float):
        fits = abs(value) <= 2**53 if isinstance(value, int) else math.isfinite(value)
    return None if fits else _wrong(value, form.__name__, place)


def _first(found: Iterable[str | None]) -> str | None:
    return next((wrong for wrong in found if wrong is not None), None)


def _wrong(value: Any, wanted: str, place: str) -> str:
    return f"{place}: {value!r:.40} where {wanted} is expected"
