"""Terminal, SVG and HTML say the same facts, and nothing that a record carries can break out of them."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_example import MIB, PLAN, RECORD

from edge.plan.footprint import Buffer
from edge.report import terminal
from edge.report.charts import NARROW, WIDE, Series, bars, curves, memory_over_step
from edge.report.files import write_report
from edge.report.linked import script
from edge.report.moments import timeline
from edge.report.numbers import bytes_text, time_text
from edge.report.page import learning, render
from edge.report.record import EpochPoint, Plan, Profile, Reading, Record
from edge.report.svg import Drawing, ticks

SVG = "{http://www.w3.org/2000/svg}"
VOID = {"meta", "img", "br", "link", "hr", "path", "rect", "circle"}


def untrusted(record: Record) -> Record:
    gone = Reading(None, "the emulator's memory is counted too")
    measured = replace(
        record.measured, peak_bytes=gone, baseline_bytes=gone, swap_peak_bytes=gone, phases={"load": gone}
    )
    return replace(record, measured=measured)


class Balance(HTMLParser):
    """Collects text, and fails on an element that is not closed in its place."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data.replace("\u00a0", " "))  # a number and its unit stay on one line


def read(page: str) -> Balance:
    parser = Balance()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def test_the_page_is_well_formed_and_states_the_facts() -> None:
    """Fit, accuracy, zeros, largest kind, planned and measured, limit: all of them are there in words."""
    page = read(render(RECORD))
    text = " ".join(page.words)
    for fact in (
        "Did it fit the budget?",
        "35.0 MiB",
        "36.0 MiB",
        "40.0 MiB",
        "+25.0 points",
        "90.0 %",
        "Mostly runtime",
    ):
        assert fact in text
    for fact in ("RLIMIT_DATA", "glibc", "Recomputes nothing.", "4 March 2026, 05:06", "no sensor", "conv1 (conv)"):
        assert fact in text


def test_the_page_escapes_text_and_asks_nothing_of_the_network() -> None:
    """A name from a file stays text; no link, no import, no foreign source, and the one script that may run is ours."""
    page = render(RECORD)
    (ours,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert ours == script()
    digest = base64.b64encode(hashlib.sha256(ours.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'" in page
    (facts,) = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    assert [len(tensor["uses"]) for tensor in json.loads(facts)["tensors"]] == [2, 1, 1]
    assert page.count("<script") == 2
    assert "tiny &lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in page
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)|url\(|@import""", page)
    assert set(re.findall(r"https?://[^\"' <]+", page)) == {"http://www.w3.org/2000/svg"}
    assert not read(page).tags & {"link", "iframe", "object", "embed", "base"}


def test_every_chart_has_a_title_and_a_description() -> None:
    """What is seen can also be heard."""
    page = render(RECORD)
    assert page.count("<svg") == page.count("<desc>") == page.count('role="img"') > 0


def test_gaps_are_shown_as_gaps_with_their_reason() -> None:
    """A figure that cannot be trusted appears nowhere; its reason does."""
    record = untrusted(RECORD)
    for shown in (" ".join(read(render(record)).words), terminal.render(record)):
        assert "the emulator's memory is counted too" in shown
        assert "35.0 MiB" not in shown
        assert "Not known" in shown


def test_a_record_without_training_and_profile_still_makes_a_page() -> None:
    """A bare plan with measurements is enough."""
    bare = replace(RECORD, training=None, profile=None, budget_bytes=None, versions={}, board={})
    assert "<h2>Training</h2>" not in render(bare)
    assert "How much memory did it take?" in terminal.render(bare)


def test_held_out_samples_have_their_place_beside_the_curve_of_training() -> None:
    """Judged before and after alone, they are two dots without a line between them; judged each epoch, a curve."""
    assert RECORD.training is not None
    epochs = tuple(EpochPoint(epoch, 1.0, None, 0.6 + epoch / 10) for epoch in (1, 2))
    found = learning(replace(RECORD.training, epochs=epochs)).replace("\u00a0", " ")
    wide = found[found.rindex('<div class="wide">') : found.rindex('<div class="narrow">')]
    assert "Held-out: 75 %" in wide
    assert wide.count('class="dot0"') == wide.count('class="dot1"') == 2
    assert len(re.findall(r'<path d="[^"]*" class="line0"', wide)) == 1  # that of the legend
    assert len(re.findall(r'<path d="[^"]*" class="line1"', wide)) == 2
    assert "before the first epoch and after the last one" in found
    assert "before the first epoch" not in learning(RECORD.training)


def test_an_empty_plan_and_strange_board_facts_still_make_a_page() -> None:
    """Nothing planned is said to be nothing; limits that are no numbers are shown as they are."""
    empty = replace(
        RECORD, plan=Plan(0, 0, 0, 0), board={"limits": {"a": None, "b": "odd", "c": MIB}, "emulated": None}
    )
    page = " ".join(read(render(empty)).words)
    for fact in ("Nothing was planned", "a none", "b odd", "c 1.0 MiB", "emulated no"):
        assert fact in page
    assert "Nothing was planned" in terminal.render(empty)


def test_an_engine_that_cannot_time_its_operators_says_so() -> None:
    """The reason stands where the chart would be."""
    record = replace(RECORD, profile=Profile("its profiler writes corrupt files in training", 2, Reading(6.0)))
    assert "its profiler writes corrupt files in training." in render(record)


def test_the_terminal_report_has_the_same_facts_and_no_control_characters() -> None:
    """Planned beside measured, above baseline, kinds; an escape sequence in a name does nothing."""
    text = terminal.render(replace(RECORD, network="evil\x1b[2J"))
    assert "\x1b" not in text
    for fact in (
        "Yes. 35.0 MiB at the peak",
        "planned 36.0 MiB",
        "16.0 MiB",
        "saved activations",
        "conv1",
        "+25.0 points",
    ):
        assert fact in text
    assert "without reuse 18.0 MiB" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_picture_of_memory_is_valid_xml_with_the_peak_named(width: int) -> None:
    """Both widths parse, name the peak and its contributors, and draw inside their box."""
    hostile = replace(PLAN, buffers=(*PLAN.buffers, Buffer('"><x>&\x00', "workspace", MIB, 2, 2)))
    drawing = memory_over_step(timeline(hostile), "Memory & time", width)
    root = ET.fromstring(drawing.standalone().encode())
    texts = [element.text or "" for element in root.iter(f"{SVG}text")]
    assert "peak 37.0 MiB in conv1 backward" in texts
    assert "conv1.output" in texts
    assert root.find(f"{SVG}title") is not None
    for element in root.iter():
        for name, limit in (("x", drawing.width), ("y", drawing.height)):
            assert -1 <= float(element.get(name, 0)) <= limit


def test_a_picture_of_its_own_needs_no_variables() -> None:
    """Viewers that know no CSS variables draw it all the same; a page's charts follow light and dark."""
    assert "var(" not in memory_over_step(timeline(PLAN), "m").standalone()
    assert "var(--k1)" in render(RECORD)


def test_areas_of_the_picture_have_the_height_of_their_bytes() -> None:
    """The top of the stack at the peak lies where the axis says 36 MiB."""
    drawing = memory_over_step(timeline(PLAN), "m")
    root = ET.fromstring(drawing.standalone())
    tops = [
        float(y)
        for path in root.iter(f"{SVG}path")
        if (path.get("class") or "").startswith("kind-")
        for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path.get("d") or "")
    ]
    assert min(tops) == pytest.approx(274 - 36 / 40 * 240, abs=0.1)


def test_charts_hold_out_against_poor_data() -> None:
    """One point, a constant, zeros and nothing at all draw without dividing by zero; no curve at all is refused."""

    def parse(drawing: Drawing) -> None:
        ET.fromstring(drawing.standalone())

    parse(curves([Series("one", ((1.0, 2.0),))], "t", "x", str))
    parse(curves([Series("flat", ((0.0, 0.0), (1.0, 0.0)))], "t", "x", str))
    parse(bars([], "t"))
    with pytest.raises(ValueError, match="at least one point"):
        curves([], "t", "x", str)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 36), (0.93, 0.97), (-3, 5), (0, 1e9), (2, 2), (0, 0)])
def test_ticks_are_round_and_cover_the_range(low: float, high: float) -> None:
    """Equal steps, few of them, from at most the low to at least the high end."""
    found = ticks(low, high)
    steps = {round(b - a, 9) for a, b in itertools.pairwise(found)}
    assert len(steps) == 1
    assert found[0] <= low
    assert found[-1] >= high
    assert 2 <= len(found) <= 12


def test_quantities_read_as_a_person_writes_them() -> None:
    """One decimal, the unit that fits, and a word where there is no number."""
    assert [bytes_text(n) for n in (96, 2048, 512 * 1024, 5 * MIB, 3000 * MIB, None)] == [
        "96 B", "2.0 KiB", "512.0 KiB", "5.0 MiB", "2.93 GiB", "not measured",
    ]  # fmt: skip
    assert [time_text(t) for t in (0.25, 12.34, 4200, 200_000)] == ["250 µs", "12.3 ms", "4.2 s", "3 min 20 s"]


def test_a_report_is_three_files(tmp_path: Path) -> None:
    """The record, the picture and the page lie side by side in a directory that is made if need be."""
    paths = write_report(RECORD, tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(paths)
    ET.fromstring(paths["memory.svg"].read_text())
