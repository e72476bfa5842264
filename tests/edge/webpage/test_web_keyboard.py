"""The page by keyboard alone, in a headless Chromium, and what it tells a screen reader."""

from __future__ import annotations

from pathlib import Path

import chromium
import pytest
from web_page_example import CLASSES, EACH, MARKS, READY, Example, problems, text

pytestmark = MARKS
RUNS = "!document.getElementById('stop').hidden"


@pytest.fixture(scope="module")
def long(example: Example) -> Path:
    """A page whose run a person can stop."""
    return example.page("long", "--epochs", 10000)


def add_all(example: Example, page: chromium.Browser) -> None:
    """Pick the files of each class and say it, by Tab, Enter and Space."""
    for label in range(CLASSES):
        page.tab_to("files")
        page.choose_by_keyboard([example.folder / f"{label * EACH + place:02d}.png" for place in range(EACH)])
        page.wait(f"[...document.querySelectorAll('#tray span')].filter((one) => one.textContent).length === {EACH}")
        page.tab_to(f"class-{label}")
        page.key("Space" if label % 2 else "Enter")
        page.wait(f"document.getElementById('counted').textContent.startsWith('{(label + 1) * EACH}')")


def test_tab_comes_to_everything_in_order(long: Path, tmp_path: Path) -> None:
    """Each button and field that can be used is a stop, in the order of the page, and the last one lets go."""
    usable = (
        "[...document.querySelectorAll('button, input')].filter((one) => one.offsetParent && !one.disabled)"
        ".map((one) => one.id)"
    )
    with chromium.browser(tmp_path / "profile") as page:
        page.open(f"file://{long}", READY)
        wanted = page.value(usable)
        assert {"files", "class-0", "train", "load"} <= set(wanted)
        found = []
        for _ in wanted:
            page.key("Tab")
            found.append(page.focused())
            assert page.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        assert found == wanted
        page.key("Tab")
        assert page.focused() in ("", wanted[0])


def test_a_run_by_keyboard_alone(example: Example, long: Path, tmp_path: Path) -> None:
    """Files, classes, training and its stop; the focus is never lost, as each button hands it to the next."""
    with chromium.browser(tmp_path / "profile") as page:
        page.open(f"file://{long}", READY)
        add_all(example, page)
        page.tab_to("train")
        page.key("Enter")
        for _ in range(2):
            page.wait(f"{RUNS} && document.getElementById('progress').value > 0")
            assert page.focused() == "stop"
            (bar,) = page.accessible("progressbar")
            assert bar["name"]
            assert 0 < float(bar["value"]) < 1
            page.key("Enter")
            page.wait(f"!({RUNS})")
            assert page.focused() == "go-on"
            assert text(page, "status").startswith("Stopped in epoch")
            page.key("Space")
        page.wait(RUNS)
        page.key("Enter")
        page.wait(f"!({RUNS})")
        assert problems(page) == []


def test_what_a_screen_reader_is_told(example: Example, long: Path, tmp_path: Path) -> None:
    """Every control has a name of its own, a class says its samples, and errors are announced."""
    with chromium.browser(tmp_path / "profile") as page:
        page.open(f"file://{long}", READY)
        assert page.accessible("alert") == []
        page.tab_to("train")
        page.key("Enter")
        page.wait("!document.getElementById('alarm').hidden")
        assert len(page.accessible("alert")) == 1
        assert page.accessible("status") != []
        assert page.focused() == "train"
        add_all(example, page)
        shown = page.value("[...document.querySelectorAll('button')].filter((one) => one.offsetParent).length")
        fields = page.value("[...document.querySelectorAll('input')].filter((one) => one.offsetParent).length")
        buttons = [each["name"] for each in page.accessible("button")]
        numbers = [each["name"] for each in page.accessible("spinbutton")]
        assert len(numbers) == fields - 2
        assert len(buttons) >= shown
        assert all(buttons + numbers)
        assert len(set(buttons + numbers)) == len(buttons + numbers)
        assert "class 0: 6\u00a0samples" in buttons
        assert [each for each in page.accessible("image") if not each["name"]] == []
