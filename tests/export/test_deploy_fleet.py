"""Lists of boards, stages of them, and the page that shows them side by side; no connection is made."""

from __future__ import annotations

import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from export.deploy.fleet import Listed, read_boards, stages
from export.deploy.overview import render_overview
from export.deploy.rollout import roll_out
from mest.errors import InputError

LIST = """
boards:
- pi@10.0.0.7
- {name: attic, host: pi@10.0.0.8, place: /data/mest, python: python3.11}
- name: cellar
groups:
  indoor: [attic, cellar]
  dry: [attic]
"""


def test_a_list_and_its_groups(tmp_path: Path) -> None:
    """A host stands for itself; what is given of a board is its own; groups keep the order of the list."""
    (tmp_path / "boards.yaml").write_text(LIST)
    one, attic, cellar = read_boards(tmp_path / "boards.yaml")
    assert one == Listed("pi@10.0.0.7", "pi@10.0.0.7")
    assert attic == Listed("attic", "pi@10.0.0.8", "/data/mest", "python3.11")
    assert cellar == Listed("cellar", "cellar")
    assert read_boards(tmp_path / "boards.yaml", ["dry", "indoor"]) == [attic, cellar]
    assert read_boards(tmp_path / "boards.yaml", ["dry"]) == [attic]


@pytest.mark.parametrize(
    ("text", "groups", "said"),
    [
        ("boards: [a", [], "not a readable YAML list"),
        ("- a", [], "needs the key 'boards'"),
        ("boards: []", [], "needs the key 'boards'"),
        ("boards: [a]\nboard: 3", [], "unknown key 'board' (allowed: boards, groups)"),
        ("boards: [a, b, a]", [], "board 'a' is listed twice"),
        ("boards: [{name: a, hots: b}]", [], "board 'a': unknown key 'hots', did you mean host"),
        ("boards: [{name: a, place: 3}]", [], "place must be a text, not 3"),
        ("boards: [{host: a}]", [], "has no 'name'"),
        ("boards: [3]", [], "3 is neither a host nor a mapping"),
        ("boards: [a]\ngroups: {x: [b]}", [], "group x: 'b' is not among the boards"),
        ("boards: [a]\ngroups: {x: [a]}", ["y"], "y: no such group; allowed are x"),
        ("boards: [a]", ["y"], "y: no such group; the list has none"),
    ],
)
def test_what_is_wrong_with_a_list_is_said(tmp_path: Path, text: str, groups: list[str], said: str) -> None:
    """One line that names the entry."""
    (tmp_path / "boards.yaml").write_text(text)
    with pytest.raises(InputError) as refused:
        read_boards(tmp_path / "boards.yaml", groups)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "count", "sizes"),
    [
        (None, 5, [5]),
        ("1,10%,100%", 30, [1, 2, 27]),
        ("1,10%,100%", 3, [1, 2]),  # 10% of 3 is the one that was served
        ("50%,100%", 5, [3, 2]),
        ("2,9", 4, [2, 2]),
        ("100%", 1, [1]),
    ],
)
def test_sizes_of_stages(text: str | None, count: int, sizes: list[int]) -> None:
    """Each text is how many are served after a stage; shares are rounded up."""
    assert stages(text, count) == sizes


@pytest.mark.parametrize("text", ["", "0,100%", "1,x", "101%", "50%,10%,100%", "1,10%", "-1", "1.5"])
def test_stages_that_do_not_grow_to_all(text: str) -> None:
    """They are refused."""
    with pytest.raises(InputError, match="stage"):
        stages(text, 40)


def test_a_failure_ends_its_stage_and_nothing_that_has_begun() -> None:
    """Two at a time: b fails while c is at work, so c ends well and nobody else begins, in no later stage either."""
    begun, failed = [], threading.Event()

    def serve(name: str) -> dict[str, Any]:
        begun.append(name)
        if name == "b":
            failed.set()
            return {"board": name, "exit_code": 3}
        if name == "c":
            assert failed.wait(10)
        return {"board": name, "exit_code": 0}

    names = list("acbdefg")
    found = list(roll_out(names, [1, 4, 2], serve, at_once=2, heed=True, stopped=lambda: False))
    assert sorted(begun) == ["a", "b", "c"]
    assert [stage.failed for stage in found] == [(), ("b",), ()]
    assert [stage.not_begun for stage in found] == [(), ("d", "e"), ("f", "g")]
    assert found[1].served["c"]["exit_code"] == 0


def test_without_stages_nobody_fails_with_another() -> None:
    """All are served, no more at a time than allowed."""
    at_work, most, changing = 0, 0, threading.Lock()

    def serve(name: str) -> dict[str, Any]:
        nonlocal at_work, most
        with changing:
            at_work += 1
            most = max(most, at_work)
        threading.Event().wait(0.01)
        with changing:
            at_work -= 1
        return {"board": name, "exit_code": 2 if name in "bd" else 0}

    (stage,) = roll_out(list("abcdefgh"), [8], serve, at_once=3, heed=False, stopped=lambda: False)
    assert list(stage.boards) == sorted(stage.served) == list("abcdefgh")
    assert stage.failed == ("b", "d")
    assert 1 <= most <= 3


class Page(HTMLParser):
    """The cells of the rows of a page, what it links to, and what it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.links: list[str] = []
        self.fetched: list[str] = []
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._cell = tag in ("td", "th")
        if tag == "tr":
            self.rows.append([])
        if self._cell:
            self.rows[-1].append("")
        self.links += [str(value) for name, value in attrs if name == "href"]
        self.fetched += [str(value) for name, value in attrs if name == "src"] + ([tag] if tag == "script" else [])

    def handle_endtag(self, tag: str) -> None:
        self._cell = False

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.rows[-1][-1] += data.replace("\u00a0", " ")


def test_the_page_shows_boards_side_by_side(tmp_path: Path) -> None:
    """One that ended well, one that was refused, one that did not begin; names are text, whatever is in them."""
    result = {
        "planned_peak_bytes": 42 * 2**20,
        "measured_peak_bytes": 41 * 2**20,
        "budget_bytes": 64 * 2**20,
        "step_ms_median": 12.5,
        "accuracy_before": 0.5,
        "accuracy_after": 0.75,
    }
    boards: dict[str, dict[str, Any]] = {
        "pi <1>": {
            "board": "pi <1>",
            "machine": "aarch64",
            "active": "2-abc",
            "plan": {"planned_peak_bytes": 43 * 2**20},
            "result": result,
            "ended": {"code": 0, "seconds": 61.0},
            "report": str(tmp_path / "pi _1_" / "report" / "report.html"),
            "exit_code": 0,
        },
        "lab": {"board": "lab", "machine": "x86_64", "active_before": "1-abc", "refused": "no room", "exit_code": 3},
        "attic": {"board": "attic", "not_begun": "lab failed in stage 1", "exit_code": None},
    }
    text = render_overview(boards, tmp_path)
    page = Page(text)
    head, *rows = page.rows
    assert dict(zip(head, rows[0], strict=True)) == {
        "Board": "pi <1>",
        "Version": "2-abc",
        "Ended": "well",
        "Planned peak": "42.0 MiB",
        "Measured peak": "41.0 MiB",
        "Budget": "64.0 MiB",
        "Time": "61.0 s",
        "A step": "12.5 ms",
        "Before": "50.0 %",
        "After": "75.0 %",
    }
    assert rows[1] == ["lab", "1-abc", "exit code 3", *["–"] * 7]
    assert rows[2] == ["attic", "–", "did not begin", *["–"] * 7]
    assert "lab: no room" in text
    assert page.links == ["pi%20_1_/report/report.html"]
    assert page.fetched == []
