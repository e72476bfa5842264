"""Every number that a command takes has a range, and what lies outside is refused by the option's name."""

from __future__ import annotations

import argparse
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mest.cli as cli
from edge.errors import InputError
from edge.plan.choices import OptimizerChoice
from edge.ranges import RANGES
from edge.run.settings import Settings
from mest.cli.spelling import flag, setting
from mest.cli.strict_json import strict_json


def numbers(name: str) -> dict[str, argparse.Action]:
    """The options of a command that take a number, by the name that messages use, without dashes."""
    actions = cli.build_parser(name)._subparsers._group_actions[0].choices[name]._actions  # type: ignore[union-attr,index]
    return {flag(action).removeprefix("--"): action for action in actions if action.type in (int, float)}


def field(action: argparse.Action) -> str:
    """The setting of an option."""
    return setting(action.dest)


@pytest.mark.parametrize("name", sorted(cli.SUMMARIES))
def test_every_number_has_a_range(name: str) -> None:
    """No option of type int or float without a row in the table; a range that a new option lacks is found here."""
    assert not {field(action) for action in numbers(name).values()} - set(RANGES)


@pytest.mark.parametrize("name", sorted(set(cli.SUMMARIES) - {"train"}))
def test_what_lies_outside_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each number just below its range, above it, infinite or none at all: exit 2, one line, before anything runs."""
    for option, action in numbers(name).items():
        allowed = RANGES[field(action)]
        wrong = [str(int(allowed.low) - 1), "nan", "inf", "-inf", "1" + 400 * "0"]
        wrong += [] if allowed.high == math.inf else [str(int(allowed.high) + 1)]
        for text in wrong:
            try:
                code = cli.main([name, *required(name), f"--{option}", text])
            except SystemExit as end:  # argparse's own word for a whole number that is none
                code = end.code
            said = capsys.readouterr().err
            assert code == 2, (option, text)
            assert said.count("\n") == 1
            assert option in said


def required(name: str) -> list[str]:
    """Words without which a command's line is not complete; nothing of them is looked at."""
    lines = {
        "finetune": ["nowhere", "--out", "nowhere", "--data", "nowhere"],
        "predict": ["nowhere", "nowhere.png"],
        "profile": ["nowhere", "--out", "nowhere"],
        "export": ["nowhere", "--out", "nowhere"],
        "deploy": ["nowhere", "board"],
        "compile": ["nowhere", "--out", "nowhere"],
        "page": ["nowhere", "--out", "nowhere.html"],
        "pack": ["nowhere", "--for", "nowhere", "--out", "nowhere"],
        "unpack": ["nowhere", "--for", "nowhere", "--out", "nowhere"],
        "completion": ["bash"],
        "runner": ["--target", "nowhere", "--out", "nowhere"],
    }
    return lines.get(name, [] if name in ("board", "demo") else ["nowhere"])


@given(
    momentum=st.floats(),
    weight_decay=st.floats(),
    beta1=st.floats(-0.5, 1.5),
    beta2=st.floats(-0.5, 1.5),
    epsilon=st.floats(),
    nesterov=st.booleans(),
    rate=st.floats(),
)
def test_random_constants_are_refused_where_pytorch_refuses_them(
    momentum: float, weight_decay: float, beta1: float, beta2: float, epsilon: float, nesterov: bool, rate: float
) -> None:
    """And beside that alone where they are not finite."""
    torch = pytest.importorskip("torch", reason="needs PyTorch as the referee")
    weight = [torch.nn.Parameter(torch.zeros(1))]

    def refused(make: object) -> bool:
        try:
            make()  # type: ignore[operator]
        except (ValueError, InputError):
            return True
        return False

    def sgd() -> None:
        torch.optim.SGD(weight, rate, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)

    def adamw() -> None:
        torch.optim.AdamW(weight, rate, betas=(beta1, beta2), eps=epsilon, weight_decay=weight_decay)

    def ours(**constants: float) -> None:
        Settings(learning_rate=rate)
        OptimizerChoice(**constants)  # type: ignore[arg-type]

    whole = all(map(math.isfinite, (rate, momentum, weight_decay)))
    found = refused(lambda: ours(momentum=momentum, weight_decay=weight_decay, nesterov=nesterov))
    assert found == (not whole or refused(sgd))
    whole = all(map(math.isfinite, (rate, weight_decay, beta1, beta2, epsilon)))
    found = refused(lambda: ours(kind="adamw", weight_decay=weight_decay, beta1=beta1, beta2=beta2, epsilon=epsilon))  # type: ignore[arg-type]
    assert found == (not whole or refused(adamw))


results = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=3), results, max_size=4))
def test_random_results_are_strict_json(result: dict[str, object]) -> None:
    """Readers that know no NaN take it; whatever was finite comes back as it was."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    back = json.loads(strict_json(result), parse_constant=refuse)
    if "not_finite" not in back:
        assert back == result


def test_what_is_not_finite_is_null_and_named() -> None:
    """By its place in the object, with what it was."""
    text = strict_json({"loss": float("nan"), "rows": [{"score": 0.5}, {"score": float("-inf")}]})
    assert json.loads(text) == {
        "loss": None,
        "rows": [{"score": 0.5}, {"score": None}],
        "not_finite": {"loss": "nan", "rows.1.score": "-inf"},
    }
