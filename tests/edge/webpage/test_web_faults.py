"""What goes wrong in a page, in a headless Chromium: it is said in clear words, and nothing is lost that was kept."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import chromium
import pytest
from web_page_example import DONE, EPOCHS, MARKS, READY, Example, problems, served, text

pytestmark = MARKS
CAMERA = "--use-fake-device-for-media-stream"
STORED = """(async () => {
  const [{ name }] = await indexedDB.databases();
  const ended = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
  const database = await ended(indexedDB.open(name));
  const run = await ended(database.transaction("run").objectStore("run").get("run"));
  database.close();
  return run ? run.progress.step / (run.progress.epochs * Math.ceil(run.progress.trained / 8)) : 0;
})()"""


@pytest.fixture(scope="module")
def plain(example: Example) -> Path:
    """A page without mutation."""
    return example.page("faulty", "--epochs", EPOCHS)


@pytest.fixture(scope="module")
def long(example: Example) -> Path:
    """A page whose run takes a second or more."""
    return example.page("suspended", "--epochs", 1200, "--save-every", 100000)


@pytest.fixture(scope="module")
def ended(example: Example, long: Path) -> bytes:
    """The state that mest-run trains of that page."""
    return example.trained(long)[0]


def progress(page: chromium.Browser) -> float:
    """How far the run is, from 0 to 1."""
    found: float = page.value("document.getElementById('progress').value")
    return found


def test_what_a_person_does_wrong_is_said(example: Example, plain: Path, tmp_path: Path) -> None:
    """No samples, no picture, one class, a rate that is none, a file that is no picture, no camera."""
    (tmp_path / "text.png").write_text("no picture")
    with chromium.browser(tmp_path / "profile") as page:

        def said(words: str) -> None:
            page.wait(f"document.getElementById('alarm').textContent.includes({json.dumps(words)})")

        page.open(f"file://{plain}", READY)
        page.press("#train")
        said("There are no samples yet")
        page.press("#class-0")
        said("Show a picture first")
        page.give_files("#files", [tmp_path / "text.png"])
        said("No picture that this browser can read: text.png")
        page.press("#camera")
        said("camera")
        example.show(page, 0)
        page.press("#class-0")
        page.wait("document.getElementById('counted').textContent.startsWith('6')")
        page.press("#train")
        said("all samples to train on are of one class")
        page.value("document.getElementById('rate').value = '-1'")
        page.press("#train")
        said("Learning rate: give a number above 0")
        page.press("#remove-last")
        page.wait("document.getElementById('counted').textContent.startsWith('5')")
        page.press("#remove-all")
        page.wait("document.getElementById('counted').textContent.startsWith('0')")


def test_a_rate_that_ruins_the_run_leaves_what_there_was(example: Example, plain: Path, tmp_path: Path) -> None:
    """The page says so, goes back to what was kept, and trains again."""
    with chromium.browser(tmp_path / "profile") as page:
        page.open(f"file://{plain}", READY)
        example.add_all(page)
        page.value("document.getElementById('rate').value = '1e30'")
        page.press("#train")
        page.wait("!document.getElementById('alarm').hidden && !document.getElementById('train').disabled")
        assert "finite" in text(page, "alarm")
        assert text(page, "status") == "Not trained here yet."
        assert page.value("document.querySelectorAll('#curve polyline').length") == 0
        page.value("document.getElementById('rate').value = '0.05'")
        page.press("#train")
        page.wait(DONE)
        done = text(page, "status")
        assert page.downloaded(tmp_path / "one", "#download", "artifact.state") == example.trained(plain)[0]
        page.value("document.getElementById('rate').value = '1e30'")
        page.press("#train")
        page.wait("!document.getElementById('alarm').hidden && !document.getElementById('train').disabled")
        assert text(page, "status") == done
        assert page.value("document.querySelector('#curve .loss').getAttribute('points').split(' ').length") == EPOCHS


def test_a_run_for_which_there_is_no_memory_leaves_what_there_was(
    example: Example, plain: Path, tmp_path: Path
) -> None:
    """The page says why, reads pictures as before, and trains once there is memory again."""
    refusing = """{
      const instantiate = WebAssembly.instantiate;
      let count = 0;
      WebAssembly.instantiate = (...given) =>
        (count += 1) === 2 ? Promise.reject(new RangeError("out of memory, says the browser")) : instantiate(...given);
    }"""
    within = """window.Blob = class extends Blob {
      constructor(parts, how) {
        super(how?.type === "text/javascript" ? [%s, ...parts] : parts, how);
      }
    };"""
    with chromium.browser(tmp_path / "profile") as page:
        page.call("Page.addScriptToEvaluateOnNewDocument", source=within % json.dumps(refusing))
        page.open(f"file://{plain}", READY)
        example.add_all(page)
        page.press("#train")
        page.wait("!document.getElementById('alarm').hidden && !document.getElementById('train').disabled")
        assert "out of memory, says the browser" in text(page, "alarm")
        assert text(page, "status") == "Not trained here yet."
        example.show(page, 0)
        page.press("#train")
        page.wait(DONE)
        assert page.downloaded(tmp_path / "one", "#download", "artifact.state") == example.trained(plain)[0]


def test_a_full_storage_loses_nothing_that_was_kept(example: Example, plain: Path, tmp_path: Path) -> None:
    """The page says that the browser's storage is full; what was there before is there after a reload."""
    with served(plain.parent) as port:
        origin = f"http://127.0.0.1:{port}"
        with chromium.browser(tmp_path / "profile") as page:
            page.open(f"{origin}/{plain.name}", READY)
            example.show(page, 0)
            page.press("#class-0")
            page.wait("document.getElementById('counted').textContent.startsWith('6')")
            page.open(
                f"{origin}/{plain.name}", f"{READY} && document.getElementById('counted').textContent.startsWith('6')"
            )
        with chromium.browser(tmp_path / "profile") as page:
            page.call("Storage.overrideQuotaForOrigin", origin=origin, quotaSize=1)
            page.open(f"{origin}/{plain.name}", READY)
            example.show(page, 1)
            page.press("#class-1")
            page.wait("document.getElementById('alarm').textContent.includes('storage is full')")
            assert text(page, "counted").startswith("12")
            page.open(f"{origin}/{plain.name}", f"{READY} && document.getElementById('alarm').hidden")
            assert text(page, "counted").startswith("6")
            asked = {address for address in page.requests() if not address.endswith("/favicon.ico")}
            assert asked == {f"{origin}/{plain.name}"}


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("plan", "plan: "),
        ("script", "If this line stays, the file is cut short or was altered: get it again."),
        ("end", "If this line stays, the file is cut short or was altered: get it again."),
    ],
)
def test_an_altered_file_says_so(plain: Path, what: str, words: str, tmp_path: Path) -> None:
    """Another plan, a script that is not the page's, a download that was cut: one line, and nothing to press."""
    whole = plain.read_text()
    altered = {
        "plan": whole.replace('id="carried-plan">', 'id="carried-plan">AAAA'),
        "script": whole.replace("<script>", "<script>/**/"),
        "end": whole[: whole.index('id="carried-plan">') + 1000],
    }
    (tmp_path / "altered.html").write_text(altered[what])
    with chromium.browser(tmp_path / "profile") as page:
        page.open(f"file://{tmp_path}/altered.html", "document.readyState === 'complete'")
        page.wait(f"document.body.innerText.includes({json.dumps(words)})")
        page.key("Tab")
        assert page.focused() == ""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="needs a processor whose vectors can be switched off")
def test_a_browser_without_vectors_is_told(plain: Path, tmp_path: Path) -> None:
    """One line, and nothing to press: of a browser that compiles for a processor before SSE 4.1."""
    with chromium.browser(tmp_path / "profile", "--js-flags=--no-enable-sse4-1") as page:
        page.open(f"file://{plain}", "!document.getElementById('alarm').hidden")
        assert text(page, "alarm") == "This browser has no WebAssembly with vectors (SIMD); use a newer one."
        assert page.value("document.getElementById('work').hidden && document.getElementById('opening').hidden")
        assert problems(page) == []


def test_a_denied_camera_is_said_and_one_that_is_taken_away_seen(plain: Path, tmp_path: Path) -> None:
    """Denied, the page names the remedy; allowed and taken away, its button offers the camera again."""
    with chromium.browser(tmp_path / "profile", CAMERA) as page:
        page.call("Browser.setPermission", permission={"name": "camera"}, setting="denied")
        page.open(f"file://{plain}", READY)
        page.press("#camera")
        page.wait("document.getElementById('alarm').textContent.startsWith('the camera was not allowed; allow it')")
        page.call("Browser.setPermission", permission={"name": "camera"}, setting="granted")
        page.press("#camera")
        page.wait("document.getElementById('camera').textContent === 'Camera off'")
        assert page.value("document.getElementById('alarm').hidden")
        page.value("document.getElementById('video').srcObject.getTracks()[0].dispatchEvent(new Event('ended'))")
        page.wait("document.getElementById('camera').textContent === 'Camera'")
        assert page.value("document.getElementById('take').hidden && document.getElementById('video').hidden")


def test_a_suspended_page_goes_on_to_the_same_state(example: Example, long: Path, ended: bytes, tmp_path: Path) -> None:
    """Out of sight and frozen, as phones do, it stands still; woken, it trains to the state of mest-run."""
    with chromium.browser(tmp_path / "profile") as page:
        page.open(f"file://{long}", READY)
        example.add_all(page)
        page.press("#train")
        page.wait("document.getElementById('progress').value > 0.02")
        page.call("Page.setWebLifecycleState", state="frozen")
        assert page.value("document.visibilityState") == "hidden"
        first = progress(page)
        assert first < 1
        assert [progress(page) for _ in range(20)] == [first] * 20
        page.call("Page.setWebLifecycleState", state="active")
        page.wait(DONE)
        assert page.downloaded(tmp_path / "one", "#download", "artifact.state") == ended
        assert problems(page) == []


def test_a_page_that_is_ended_while_it_is_suspended_has_kept_its_run(
    example: Example, long: Path, ended: bytes, tmp_path: Path
) -> None:
    """What was computed until it went out of sight is there again, and goes on to the state of mest-run."""
    with chromium.browser(tmp_path / "profile") as page:
        page.open(f"file://{long}", READY)
        example.add_all(page)
        page.press("#train")
        page.wait("document.getElementById('progress').value > 0.02")
        seen = progress(page)
        with page.another_tab() as first, page.driving(first):
            page.wait("document.visibilityState === 'hidden'")
            page.wait(f"window.stored >= {seen} || ({STORED}.then((share) => {{ window.stored = share; }}), false)")
            page.call("Page.setWebLifecycleState", state="frozen")
            page.process.kill()
            page.process.wait()
    with chromium.browser(tmp_path / "profile") as page:
        page.open(f"file://{long}", READY)
        assert text(page, "status").startswith("Stopped in epoch")
        assert progress(page) >= seen
        page.press("#go-on")
        page.wait(DONE)
        assert page.downloaded(tmp_path / "one", "#download", "artifact.state") == ended


def test_a_database_that_the_system_closed_is_opened_again(example: Example, plain: Path, tmp_path: Path) -> None:
    """As phones close it of a page that sleeps: samples are kept as before."""
    closing = """{
      const begin = IDBDatabase.prototype.transaction;
      IDBDatabase.prototype.transaction = function (...given) {
        if (window.closes) this.close();
        window.closes = false;
        return begin.apply(this, given);
      };
    }"""
    with chromium.browser(tmp_path / "profile") as page:
        page.call("Page.addScriptToEvaluateOnNewDocument", source=closing)
        page.open(f"file://{plain}", READY)
        example.show(page, 0)
        page.value("window.closes = true")
        page.press("#class-0")
        page.wait("document.getElementById('counted').textContent.startsWith('6')")
        assert page.value("window.closes") is False
        assert page.value("document.getElementById('alarm').hidden")
        page.open(f"file://{plain}", READY)
        assert text(page, "counted").startswith("6")
