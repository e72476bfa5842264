"""The page in a second engine, a headless Firefox: it opens, reads, trains to the state of mest-run, and keeps it."""

from __future__ import annotations

from pathlib import Path

import firefox
from web_page_example import CLASSES, DONE, EACH, EPOCHS, NEEDS, READY, Example, marks

pytestmark = marks(*NEEDS, (firefox.PROGRAM is not None, "Firefox: apt install firefox-esr"))


def test_the_run_is_that_of_the_program(example: Example, tmp_path: Path) -> None:
    """Samples by files, trained: the state of mest-run byte for byte, there again after a reload."""
    plain = example.page("second", "--epochs", EPOCHS)
    state, said = example.trained(plain)
    with firefox.browser(tmp_path / "profile") as page:
        page.open(f"file://{plain}", READY)
        assert page.value("document.getElementById('alarm').hidden")
        example.add_all(page)
        page.press("#train")
        page.wait(DONE)
        assert page.downloaded("#download", "artifact.state") == state
        words = page.value("document.getElementById('status').textContent")
        assert f"{100 * said['accuracy_after']:.1f}\u00a0%" in words
        page.open(f"file://{plain}", READY)
        assert page.value("document.getElementById('counted').textContent") == f"{CLASSES * EACH}\u00a0samples."
        assert page.value("document.getElementById('status').textContent") == words
        assert page.downloaded("#download", "artifact.state") == state
        example.show(page, 3)
        assert page.value("document.getElementById('alarm').hidden")
