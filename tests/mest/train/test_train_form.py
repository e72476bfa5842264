"""The form of JSON values: what fits, and the first place that does not."""

from __future__ import annotations

from typing import Any

import pytest

from mest.train.form import misfit

FORM = {"model": {"classes": int, "input": [int]}, "resize": (int, [int], None), "options": {...: str}, "lr": float}
GOOD: dict[str, Any] = {"model": {"classes": 10, "input": [1, 8, 8]}, "resize": None, "options": {"a": "b"}, "lr": 1}


def test_what_fits_is_not_complained_about() -> None:
    """More fields than asked for, an integer for a float, each of the alternatives."""
    assert misfit(GOOD, FORM, "") is None
    for resize in (32, [32, 32], None):
        assert misfit({**GOOD, "resize": resize, "more": object()}, FORM, "") is None


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("model", {"classes": 10}, "model.input is missing"),
        ("model", {"classes": True, "input": []}, "model.classes: True where int is expected"),
        ("model", {"classes": 10, "input": [1, None]}, "model.input[1]: None where int is expected"),
        ("model", [], "model: [] where an object is expected"),
        ("resize", "32", "resize: '32' where int is expected"),
        ("options", {"a": 1}, "options.a: 1 where str is expected"),
        ("lr", float("inf"), "lr: inf where float is expected"),
        ("lr", 10**400, "lr: 1" + "0" * 39 + " where float is expected"),
    ],
)
def test_the_first_misfit_is_named_by_its_place(key: str, value: object, said: str) -> None:
    """With what is there, shortened, and what was expected."""
    assert misfit({**GOOD, key: value}, FORM, "") == said
