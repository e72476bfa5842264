"""Two records on one page: every difference is the second's number less the first's."""

from __future__ import annotations

from dataclasses import replace

from report_example import MIB, PLAN, RECORD
from test_report_render import read

from edge.plan.footprint import Item
from edge.report import terminal
from edge.report.comparison import differences, render_comparison
from edge.report.numbers import bytes_text, change_text
from edge.report.record import OperatorCost, Reading

assert RECORD.profile is not None
assert RECORD.training is not None
SMALLER = replace(
    RECORD,
    plan=replace(PLAN, peak_bytes=34 * MIB, items=(Item("weights", "values", 1 * MIB), PLAN.items[1])),
    measured=replace(RECORD.measured, peak_bytes=Reading(30 * MIB)),
    choices={"batch_size": 16, "optimizer": {"kind": "sgd"}},
    profile=replace(
        RECORD.profile,
        step_ms_median=Reading(9.0),
        operators=(OperatorCost("conv1", "conv", "forward", 9.0), OperatorCost("fc", "linear", "forward", 0.5)),
    ),
    training=replace(RECORD.training, accuracy_after=Reading(0.7)),
)


def test_differences_have_their_sign_and_are_none_where_one_was_not_measured() -> None:
    """35 MiB and 30 are 5 less; a peak that cannot be trusted has no difference."""
    found = differences(RECORD, SMALLER)
    assert found["measured_peak_bytes"] == {"first": 35 * MIB, "second": 30 * MIB, "difference": -5 * MIB}
    assert found["step_ms_median"]["difference"] == 3.0
    gone = replace(SMALLER, measured=replace(SMALLER.measured, peak_bytes=Reading(None, "emulated")))
    assert differences(RECORD, gone)["measured_peak_bytes"] == {"first": 35 * MIB, "second": None, "difference": None}
    assert "not measured" in render_comparison(RECORD, gone)
    said = [change_text(one, other, bytes_text) for one, other in ((1, 3), (3, 1), (2, 2), (None, 2))]
    assert said == ["+2 B", "−2 B", "no change", "–"]


def test_the_page_names_what_changed_and_nothing_that_did_not() -> None:
    """Peaks, times, accuracy, the tensor that shrank and the choice that differs; the page is whole and well-formed."""
    page = render_comparison(RECORD, SMALLER)
    text = " ".join(read(page).words)
    for said in ("−5.0 MiB", "First 35.0 MiB, second 30.0 MiB: 14.3 % less.", "+3 ms", "−5.0 points"):
        assert said in text
    changed = text[text.index("What changed at the peak") : text.index("Where the time went")]
    assert "values (weights) 3.0 MiB 1.0 MiB −2.0 MiB" in changed
    assert "columns" not in changed
    chosen = text[text.index("What was chosen differently") :]
    assert "batch size 32 16" in chosen
    assert "optimizer" not in chosen
    assert "<script" not in page
    assert "Nothing: choices, machine, versions." in render_comparison(RECORD, RECORD)


def test_the_terminal_says_the_same_figures() -> None:
    """One line a figure, with a dash where there is none."""
    lines = terminal.comparison(differences(RECORD, replace(SMALLER, training=None))).splitlines()
    assert [" ".join(line.split()) for line in lines[1:3]] == [
        "planned peak 36.0 MiB 34.0 MiB −2.0 MiB",
        "measured peak 35.0 MiB 30.0 MiB −5.0 MiB",
    ]
    assert lines[-1].split() == ["accuracy", "after", "0.75", "–", "–"]
