"""Every operator in the registry: what is read is what was written, bounds hold, roles demand."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import DamagedError
from edge.files.fields import Fields
from edge.network import OPERATORS, Operator, Parameter
from edge.network.operators.fields import (
    MAX_DIMENSION,
    Choice,
    FieldKind,
    Flag,
    Integer,
    Integers,
    Number,
    Numbers,
    Text,
    Texts,
    kind_of,
)
from edge.network.operators.operator import roles
from edge.network.operators.roles import RoleError
from edge.network.reading import read_operator
from edge.network.writing import describe_operator

NAMES = st.text("abc.0 é", min_size=1, max_size=8)


def values_of(kind: FieldKind) -> st.SearchStrategy[Any]:
    """Whatever a field may hold."""
    if isinstance(kind, Integer):
        return st.integers(kind.low, MAX_DIMENSION)
    if isinstance(kind, Integers):
        count = kind.count
        return st.lists(
            st.integers(kind.low, MAX_DIMENSION), min_size=count or 0, max_size=4 if count is None else count
        ).map(tuple)
    if isinstance(kind, Number):
        return st.floats(kind.low, kind.high)
    if isinstance(kind, Numbers):
        return st.none() | st.lists(st.floats(kind.low, kind.high), min_size=kind.count, max_size=kind.count).map(tuple)
    if isinstance(kind, Choice):
        return st.sampled_from(kind.allowed)
    if isinstance(kind, Flag):
        return st.booleans()
    if isinstance(kind, Text):
        return st.none() | NAMES if kind.optional else NAMES
    assert isinstance(kind, Texts), f"say here what {kind} may hold"
    return st.lists(NAMES, max_size=3).map(tuple)


def read_back(description: dict[str, Any]) -> Operator:
    """What the reader makes of a description that went through JSON."""
    return read_operator(Fields(json.loads(json.dumps(description)), "network.json", "operator 0"))


@pytest.mark.parametrize("op", OPERATORS)
@given(data=st.data())
def test_what_is_read_is_what_was_written_random(op: str, data: st.DataObject) -> None:
    """Any values within the bounds come back equal, and what was left out with them."""
    kind = OPERATORS[op]
    operator = kind(**{field.name: data.draw(values_of(kind_of(field)), label=field.name) for field in fields(kind)})
    assert read_back(describe_operator(operator)) == operator


@pytest.mark.parametrize("op", OPERATORS)
@given(data=st.data())
def test_each_field_is_bounded_random(op: str, data: st.DataObject) -> None:
    """A value of another type, or one step out of bounds, is refused by the field's name."""
    kind = OPERATORS[op]
    operator = kind(**{field.name: data.draw(values_of(kind_of(field))) for field in fields(kind)})
    for field in fields(kind):
        held = kind_of(field)
        wrong: list[Any] = [{}, [[]]]
        if isinstance(held, Integer):
            wrong += [held.low - 1, MAX_DIMENSION + 1, 1.5, True]
        if isinstance(held, Integers):
            wrong += [[held.low - 1] * (held.count or 1), [held.low] * (held.count + 1) if held.count else [1.5]]
        if isinstance(held, Choice):
            wrong.append(held.allowed[0] + "s")
        if isinstance(held, Numbers):
            wrong += [[held.low / 2] * held.count, [held.high * 2] * held.count, [held.low] * (held.count + 1)]
        if isinstance(held, Number):
            wrong += [held.low - 1 - abs(held.low), held.high * 2]
        else:
            wrong.append(-1)
        with pytest.raises(DamagedError, match=field.name):
            read_back(describe_operator(operator) | {field.name: data.draw(st.sampled_from(wrong))})


@pytest.mark.parametrize("op", OPERATORS)
def test_each_role_refuses_a_parameter_of_halves(op: str) -> None:
    """No role takes float16."""
    for name, role in roles(OPERATORS[op]).items():
        halves = Parameter("p", (3,), {"values": np.zeros(3, np.float16)}, trainable=False)
        with pytest.raises(RoleError, match=name):
            role.check(name, halves, (3, 2, 2), (3, 2, 2))


def test_names_in_the_registry_are_those_of_the_classes() -> None:
    """Each operator under its own name and none twice."""
    assert all(kind.op == op for op, kind in OPERATORS.items())
    assert len(set(OPERATORS.values())) == len(OPERATORS)
