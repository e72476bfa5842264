"""A record survives its JSON and refuses what is not one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from report_example import RECORD

from edge.errors import DamagedError, InputError
from edge.report.record import Measured, Reading, Record, read_record, write_record


def document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(json.dumps(RECORD.to_json()))
    return loaded


def test_a_record_comes_back_from_its_file_unchanged(tmp_path: Path) -> None:
    """Writing and reading gives an equal value, tuples and nested facts included."""
    write_record(RECORD, tmp_path / "record.json")
    assert read_record(tmp_path / "record.json") == RECORD
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_a_reading_has_a_value_or_a_reason_and_never_both() -> None:
    """No number without trust, no gap without a word."""
    for value, reason in ((None, None), (1, "because")):
        with pytest.raises(ValueError, match="either a value or a reason"):
            Reading(value, reason)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(schema="mest-record/9"), "mest-record/9"),
        (lambda d: d.pop("engine"), "'engine' is missing"),
        (lambda d: d.update(colour="red"), "unknown field 'colour'"),
        (lambda d: d["plan"].update(peak_bytes="much"), "record.plan.peak_bytes: 'much'"),
        (lambda d: d["plan"]["items"][0].update(kind="magic"), r"record.plan.items\[0\].kind: 'magic'"),
        (lambda d: d["measured"].update(peak_bytes={"value": None}), "record.measured.peak_bytes: a reading"),
        (lambda d: d.update(training=[1]), "record.training: list"),
        (lambda d: d["training"]["steps"][0].update(loss=float("nan")), r"record.training.steps\[0\].loss: nan"),
        (lambda d: d["training"].update(zeros_kept=1), "record.training.zeros_kept: 1"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_place(change: Any, said: str) -> None:
    """One line names the field that is wrong."""
    broken = document()
    change(broken)
    with pytest.raises(DamagedError, match=said):
        Record.from_json(broken)


def test_files_that_are_no_record_are_refused(tmp_path: Path) -> None:
    """Missing, cut off, binary and foreign files each end in one line."""
    with pytest.raises(InputError, match="no such file"):
        read_record(tmp_path / "none.json")
    for content in (b'{"schema": ', b"\xff\xfe\x00", b"[1, 2]"):
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(DamagedError):
            read_record(tmp_path / "bad.json")


def test_within_budget_needs_a_measurement_and_no_swap() -> None:
    """An untrusted peak answers None; swap answers False however small the peak."""

    def measured(peak: Reading, swap: Reading) -> Record:
        old = RECORD.measured
        return replace(RECORD, measured=Measured(old.baseline_bytes, peak, swap, old.limit))

    zero = Reading(0)
    assert measured(Reading(1), zero).within_budget is True
    assert measured(Reading(RECORD.budget_bytes), zero).within_budget is True
    assert measured(Reading((RECORD.budget_bytes or 0) + 1), zero).within_budget is False
    assert measured(Reading(1), Reading(4096)).within_budget is False
    assert measured(Reading(None, "emulated"), zero).within_budget is None
