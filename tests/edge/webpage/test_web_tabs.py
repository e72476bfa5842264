"""Two tabs of one page in a headless Chromium: the first keeps its run, and the second says so and keeps nothing."""

from __future__ import annotations

from pathlib import Path

import chromium
import pytest
from web_page_example import CLASSES, DONE, EACH, EPOCHS, MARKS, READY, Example, problems, served, text

pytestmark = MARKS
ALL = f"{CLASSES * EACH}\u00a0samples."
HOST = "page.test"


@pytest.fixture(scope="module")
def plain(example: Example) -> Path:
    """A page without mutation."""
    return example.page("plain", "--epochs", EPOCHS)


@pytest.mark.parametrize("locks", [True, False], ids=["from-a-disk", "from-a-server-without-locks"])
def test_the_second_tab_keeps_nothing(example: Example, plain: Path, locks: bool, tmp_path: Path) -> None:
    """It forgets all and trains on other samples; what the first one keeps stays what the first one did."""
    state, _ = example.trained(plain)
    map_host = f"--host-resolver-rules=MAP {HOST} 127.0.0.1"
    with served(plain.parent) as port, chromium.browser(tmp_path / "profile", map_host) as page:
        address = f"file://{plain}" if locks else f"http://{HOST}:{port}/plain.html"
        page.open(address, READY)
        assert page.value("navigator.locks !== undefined") is locks
        assert page.value("document.getElementById('elsewhere').hidden")
        example.add_all(page)
        page.press("#train")
        page.wait(DONE)
        with page.another_tab():
            page.open(address, READY)
            assert not page.value("document.getElementById('elsewhere').hidden")
            assert "another tab has this page open" in text(page, "kept")
            assert text(page, "counted") == ALL
            page.press("#forget")
            page.wait("document.getElementById('download').disabled")
            page.press("#remove-all")
            page.wait("document.getElementById('counted').textContent.startsWith('0')")
            for label in (1, 2):
                example.show(page, 0)
                page.press(f"#class-{label}")
                page.wait(f"document.getElementById('counted').textContent.startsWith('{label * EACH}')")
            page.press("#train")
            page.wait(DONE)
            assert page.downloaded(tmp_path / "two", "#download", "artifact.state") != state
        page.open(address, f"{READY} && document.getElementById('elsewhere').hidden")
        assert text(page, "counted") == ALL
        assert page.downloaded(tmp_path / "one", "#download", "artifact.state") == state
        assert [each for each in problems(page) if "favicon" not in str(each)] == []


def test_the_second_tab_takes_over_once_the_first_is_left(example: Example, plain: Path, tmp_path: Path) -> None:
    """Reloaded then, it keeps what is done in it."""
    with chromium.browser(tmp_path / "profile") as page:
        page.open(f"file://{plain}", READY)
        with page.another_tab() as first:
            page.open(f"file://{plain}", f"{READY} && !document.getElementById('elsewhere').hidden")
            with page.driving(first):
                page.open("about:blank", "true")
            for samples in ("0", "6"):
                page.open(f"file://{plain}", f"{READY} && document.getElementById('elsewhere').hidden")
                assert text(page, "counted").startswith(samples)
                if samples == "0":
                    example.show(page, 0)
                    page.press("#class-0")
                    page.wait("document.getElementById('counted').textContent.startsWith('6')")
