"""The page of `mest page` in a headless Chromium, used as a person would: run and state are those of mest-run."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import chromium
import pytest
from finetune_example import mest
from native_artifact import write_artifact
from native_networks import Builder
from web_page_example import CLASSES, DONE, EACH, EPOCHS, MARKS, READY, Example, problems, text

pytestmark = MARKS


@pytest.fixture(scope="module")
def plain(example: Example) -> Path:
    """A page without mutation."""
    return example.page("plain", "--epochs", EPOCHS, "--title", "Five <kinds>")


def test_the_run_is_that_of_the_program(example: Example, plain: Path, tmp_path: Path) -> None:
    """Samples by files, trained: the state of mest-run byte for byte, there again after a reload; and no request."""
    state, said = example.trained(plain)
    with chromium.browser(tmp_path / "profile") as page:
        page.open(f"file://{plain}", READY)
        assert page.value("document.title") == "Five <kinds>"
        example.add_all(page)
        page.press("#train")
        page.wait(DONE)
        assert page.value("document.getElementById('alarm').hidden"), text(page, "alarm")
        assert page.downloaded(tmp_path / "one", "#download", "artifact.state") == state
        plan = page.downloaded(tmp_path / "one", "#download-plan", "artifact.mest")
        assert plan == plain.with_suffix(".mest").read_bytes()
        words = text(page, "status")
        for accuracy in (said["accuracy_before"], said["accuracy_after"]):
            assert f"{100 * accuracy:.1f}\u00a0%" in words
        assert page.value("document.querySelector('#curve .loss').getAttribute('points').split(' ').length") == EPOCHS

        assert "Last step" in text(page, "facts")
        page.open(f"file://{plain}", READY)
        assert "Last step" in text(page, "facts")
        assert text(page, "counted") == f"{CLASSES * EACH}\u00a0samples."
        assert text(page, "status") == words
        assert page.downloaded(tmp_path / "two", "#download", "artifact.state") == state
        assert page.requests() == []
        assert problems(page) == []


def test_a_state_comes_home(example: Example, plain: Path, tmp_path: Path) -> None:
    """What the page hands out, which is what the program wrote, is an ordinary state of the accuracy that both say."""
    _, said = example.trained(plain)
    assert said["accuracy_after"] > said["accuracy_before"]
    home, state = tmp_path / "home", plain.with_suffix(".state")
    done = mest("unpack", state, "--for", plain.with_suffix(".mest"), "--out", home)
    assert done.returncode == 0, done.stderr
    done = mest("eval", home, "--data", example.folder / "images.npz", "--json")
    assert done.returncode == 0, done.stderr
    words = ("eval", plain.with_suffix(".mest"), "--data", plain.with_suffix(".data"), "--state", state, "--json")
    program = subprocess.run([example.program, *words], capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout)["accuracy"] == json.loads(program.stdout)["accuracy"] > 1 / CLASSES


def test_a_run_that_was_cut_goes_on_to_the_same_state(example: Example, tmp_path: Path) -> None:
    """Stopped by its button, then by leaving the page, then by killing the browser; mutating all the while."""
    long = example.page("long", "--epochs", 1500, "--save-every", 100000, "--mutate", "em", "--mutate-every", 7)
    state, said = example.trained(long)
    assert said["mutations"] > 300
    with chromium.browser(tmp_path / "profile") as page:
        page.open(f"file://{long}", READY)
        example.add_all(page)
        page.press("#train")
        page.wait("document.getElementById('progress').value > 0.02")
        page.press("#stop")
        page.wait("!document.getElementById('go-on').hidden")
        assert text(page, "status").startswith("Stopped in epoch")
        reached = page.value("document.getElementById('progress').value")
        assert 0 < reached < 1
        page.press("#go-on")
        page.wait(f"document.getElementById('progress').value > {reached + 0.1}")
        page.open(f"file://{long}", READY)
        assert page.value("document.getElementById('progress').value") >= reached
        page.press("#go-on")
        page.wait(f"document.getElementById('progress').value > {reached + 0.3}")
        page.process.kill()
    with chromium.browser(tmp_path / "profile") as page:
        page.open(f"file://{long}", f"{READY} && !document.getElementById('go-on').hidden")
        assert page.value("document.getElementById('progress').value") >= reached
        page.press("#go-on")
        page.wait(DONE)
        assert page.downloaded(tmp_path / "one", "#download", "artifact.state") == state
        assert f"{said['mutations']} so far; the last one took out" in text(page, "facts")
        assert page.value("document.querySelector('#curve .loss').getAttribute('points').split(' ').length") == 300
        assert problems(page) == []


@pytest.mark.parametrize("when", ["while it runs", "after its stop"])
def test_a_run_does_not_go_on_with_other_samples(when: str, example: Example, tmp_path: Path) -> None:
    """Samples that come while it runs, or after its stop, are for a new run, and no other is offered."""
    page_file = example.page("others", "--epochs", 10000)
    with chromium.browser(tmp_path / "profile") as page:
        page.open(f"file://{page_file}", READY)
        example.add_all(page)
        page.press("#train")
        page.wait("document.getElementById('progress').value > 0")
        if when == "after its stop":
            page.press("#stop")
            page.wait("!document.getElementById('go-on').hidden")
        example.show(page, 0)
        page.press("#class-0")
        page.wait(f"document.getElementById('counted').textContent.startsWith('{(CLASSES + 1) * EACH}')")
        if when == "while it runs":
            page.press("#stop")
            page.wait("document.getElementById('stop').hidden")
        assert page.value("document.getElementById('go-on').hidden")
        assert text(page, "status").startswith("Stopped in epoch")
        page.open(f"file://{page_file}", f"{READY} && document.getElementById('go-on').hidden")
        page.press("#train")
        page.wait("document.getElementById('progress').value > 0 && !document.getElementById('stop').hidden")
        page.press("#stop")
        page.wait("!document.getElementById('go-on').hidden")
        assert problems(page) == []


def test_states_of_boards_open_and_altered_ones_do_not(example: Example, plain: Path, tmp_path: Path) -> None:
    """A state of mest-run is taken and read with; an altered one is refused in one line, and what there was stays."""
    state, _ = example.trained(plain)
    (tmp_path / "board.state").write_bytes(state)
    (tmp_path / "altered.state").write_bytes(state[:-1] + bytes([state[-1] ^ 1]))
    with chromium.browser(tmp_path / "profile") as page:
        page.open(f"file://{plain}", READY)
        assert page.value("document.getElementById('download').disabled")
        page.give_files("#load", [tmp_path / "board.state"])
        page.wait("!document.getElementById('download').disabled")
        example.show(page, 3)
        read = page.value("document.getElementById('tray').textContent")
        page.give_files("#load", [tmp_path / "altered.state"])
        page.wait("!document.getElementById('alarm').hidden")
        assert text(page, "alarm").startswith("altered.state: state: does not match its SHA-256")
        page.open(f"file://{plain}", READY)
        assert page.downloaded(tmp_path / "one", "#download", "artifact.state") == state
        example.show(page, 3)
        assert page.value("document.getElementById('tray').textContent") == read
        page.press("#forget")
        page.wait("document.getElementById('download').disabled")


def test_drawings_and_a_camera(example: Example, tmp_path: Path) -> None:
    """A network of small grey pictures has a pad; a line of ink is a sample, and so is what a camera sees."""
    b = Builder((1, 8, 8), 2)
    network = b.head(b.relu(b.norm(b.conv("input", 8, fmt="block", sparsity=0.5))))
    grey = example.page("grey", artifact=write_artifact(tmp_path / "grey", network))
    eyes = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with chromium.browser(tmp_path / "profile", *eyes) as page:
        page.open(f"file://{grey}", READY)
        x, y = page.place("#pad")
        page.drag([(x - 60, y), (x, y), (x + 60, y)])
        page.wait("document.querySelector('#reading li')")
        dots = "[...document.querySelector('#tray canvas').getContext('2d').getImageData(0, 0, 8, 8).data]"
        rows = page.value(f"{dots}.filter((_, place) => place % 4 === 0)")
        assert [min(rows[8 * row : 8 * row + 8]) < 200 for row in range(8)] == [row in (3, 4) for row in range(8)]
        page.press("#class-1")
        page.wait("document.getElementById('counted').textContent.startsWith('1')")
        assert text(page, "class-1").endswith("1")
        assert page.value("document.querySelectorAll('#tray canvas').length") == 0
        page.press("#camera")
        page.wait("document.getElementById('video').videoWidth > 0 && !document.getElementById('take').hidden")
        page.press("#take")
        page.wait("document.querySelector('#reading li')")
        page.press("#class-0")
        page.wait("document.getElementById('counted').textContent.startsWith('2')")
        page.press("#camera")
        page.wait("document.getElementById('video').hidden")
        assert problems(page) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--out", "page.htm"), "give a file that ends in .html"),
        (("--out", "page.html", "--module", "none.wasm"), "give mest.wasm"),
        (("--out", "page.html", "--module", "images.npz"), "is no WebAssembly module"),
        (("--out", "page.html", "--module", "other.wasm"), "is of another version of mest"),
    ],
)
def test_refusals(example: Example, words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    """One line, exit code 2, and no page."""
    shutil.copy(example.folder / "images.npz", tmp_path)
    (tmp_path / "other.wasm").write_bytes(b"\0asm\1\0\0\0")
    given = [word if word.startswith("--") else tmp_path / word for word in words]
    done = mest("page", example.artifact, *given)
    assert (done.returncode, message in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
    assert not (tmp_path / "page.html").exists()
    assert not (tmp_path / "page.mest").exists()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("windows", "takes numbers that are no pictures, and a page shows pictures"),
        ("values", "is trained for regression, and a compiled plan for one class of many alone"),
    ],
)
def test_networks_that_a_page_is_not_for(what: str, message: str, tmp_path: Path) -> None:
    """One line with exit code 2, before a module is built, and no file."""
    b = Builder((1, 1, 16), 2, task="regression" if what == "values" else "classification")
    artifact = write_artifact(tmp_path / "artifact", b.head(b.relu(b.norm(b.conv("input", 8, kernel=(1, 3))))))
    if what == "windows":
        manifest = json.loads((artifact / "manifest.json").read_text())
        manifest["preprocess"] = {"mode": "array", "resize": None, "crop": None, "mean": [0.0], "std": [1.0]}
        (artifact / "manifest.json").write_text(json.dumps(manifest))
    done = mest("page", artifact, "--out", tmp_path / "page.html")
    assert (done.returncode, message in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["artifact"]
