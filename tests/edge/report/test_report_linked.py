"""The linked views, the flame chart and what would shrink the peak: drawn from the record, and by its numbers."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from report_example import MIB, RECORD

from edge.plan.footprint import Alternative
from edge.report.flame import flame, tree
from edge.report.linked import linked_views
from edge.report.numbers import time_text
from edge.report.page import render, shrink


def test_every_tensor_is_a_rectangle_at_its_address_and_time() -> None:
    """Of an arena of 12 MiB in 240 px, 8 MiB from its bottom are 160 px, and three of four steps three quarters."""
    found = linked_views(RECORD)
    wide = ET.fromstring(found[found.index("<svg") : found.index("</svg>") + 6])
    tiles = {tile.get("data-tensor"): tile for tile in wide.iter() if tile.get("data-tensor")}
    assert len(tiles) == 3
    first = tiles["0"]
    assert float(first.get("height", 0)) == pytest.approx(240 * 8 / 12)
    assert float(first.get("y", 0)) + float(first.get("height", 0)) == pytest.approx(416)
    assert float(first.get("width", 0)) == pytest.approx((720 - 8 - 46) * 3 / 4, abs=0.1)
    assert len([bar for bar in wide.iter() if bar.get("data-step")]) == 4


def test_what_is_linked_can_be_reached_and_heard_without_a_pointer() -> None:
    """The views take the keyboard, what is said of a moment is announced, and a table says the same of every tensor."""
    found = linked_views(RECORD)
    assert 'tabindex="0" role="group" aria-label=' in found
    assert '<output aria-live="polite">' in found
    assert "Written in conv1 forward. Read by conv1 backward" in found[found.index("<details>") :]
    assert linked_views(replace(RECORD, plan=replace(RECORD.plan, buffers=()))) == ""


def test_a_flame_s_modules_are_as_wide_as_what_they_take() -> None:
    """1 + 2 in one module and 1 in another: three quarters and one."""
    root = tree([(("a", "b"), 1.0), (("a", "c"), 2.0), (("d",), 1.0)])
    assert (root.total, root.parts["a"].total, root.parts["a"].parts["c"].total) == (4.0, 3.0, 2.0)
    drawn = ET.fromstring(flame(root, time_text, "t", 416).inline())
    widths = {
        (rect[0].text or "").split(":")[0]: float(rect.get("width", 0))
        for rect in drawn.iter()
        if rect.tag.endswith("rect")
    }
    assert widths == {"whole step": 400, "a": 300, "a.b": 100, "a.c": 200, "d": 100}


def test_what_would_shrink_the_peak_says_bytes_time_and_whether_the_result_stays() -> None:
    """Peak 36 MiB less 4 is 32; a plan without alternatives has no such section."""
    other = Alternative("recompute", "blocks", 4 * MIB, 1.25, exact=True)
    found = shrink(replace(RECORD, plan=replace(RECORD.plan, alternatives=(other,)))).replace("\u00a0", " ")
    assert ">--recompute blocks</text>" in found
    for said in ("recompute blocks", "the same", "4.0 MiB", "32.0 MiB", "+25 %"):
        assert f"<td>{said}" in found or f'<td class="number">{said}' in found
    same = replace(other, choice="micro_batch", value="1")
    several = shrink(replace(RECORD, plan=replace(RECORD.plan, alternatives=(other, same))))
    assert "save the same" in several
    assert "save the same" not in found
    assert shrink(RECORD) == ""
    assert "What would shrink the peak" not in render(RECORD)
