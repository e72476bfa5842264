"""The page of `mest page` in a headless Chromium, used as a person would: run and state are those of mest-run."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import chromium
import numpy as np
import pytest
from finetune_example import mest
from native_artifact import write_artifact
from native_networks import resnet

from edge.compiled.packing import pack
from edge.compiled.plan import read_plan
from edge.data.open import open_source
from edge.libmest import build, library
from edge.libmest.targets import WEB, build_library_for

pytestmark = [
    pytest.mark.skipif(not library.available()[0], reason=f"needs the library: {library.available()[1]}"),
    pytest.mark.skipif(chromium.PROGRAM is None, reason="needs Chromium: apt install chromium"),
    pytest.mark.skipif(find_spec("ziglang") is None, reason="needs a compiler: pip install ziglang"),
]
EPOCHS, CLASSES, EACH, SIDE = 8, 5, 6, 8
READY = "document.getElementById('train').dataset.ready === 'yes'"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with the page of a small network, its plan, and pictures of each class as files."""
    pil = pytest.importorskip("PIL.Image", reason="needs Pillow")
    folder = tmp_path_factory.mktemp("page")
    network = resnet("block", 0.75, blocks=1, width=8, size=SIDE, classes=CLASSES)
    artifact = write_artifact(folder / "artifact", network)
    build_library_for(WEB, folder / "module")
    options = (
        "--module",
        folder / "module" / "mest.wasm",
        "--batch-size",
        8,
        "--epochs",
        EPOCHS,
        "--hold-out",
        0.25,
        "--lr",
        0.05,
    )
    done = mest(
        "page", artifact, "--out", folder / "page.html", *options, "--seed", 3, "--title", "Five <kinds>", "--json"
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["bytes"], said["plan_bytes"]) == tuple(
        (folder / f"page.{end}").stat().st_size for end in ("html", "mest")
    )
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (CLASSES * EACH, SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.repeat(np.arange(CLASSES), EACH)
    images[..., 0] = images[..., 0] // 4 + labels[:, None, None] * 48  # something to learn
    for place, image in enumerate(images):
        pil.fromarray(image).save(folder / f"{place:02d}.png")
    np.savez(
        folder / "images.npz",
        images=images,
        labels=labels,
        class_names=np.array(read_plan(folder / "page.mest").class_names),
    )
    return folder


@pytest.fixture(scope="module")
def native(made: Path) -> tuple[bytes, dict[str, Any]]:
    """The state that mest-run, without fused multiply-add, trains from the same plan and samples, and what it says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEST_ONLY_SETS", "sse2")
        try:
            build.build(made / "libmest.so")
            build.build_runner(made / "mest-run", made / "libmest.so")
        except build.BuildError as error:
            pytest.skip(f"needs a compiler for a processor without fused multiply-add: {error}")
    plan = read_plan(made / "page.mest")
    source = open_source(str(made / "images.npz"), plan.class_names, made, plan.preprocess)
    try:
        pack(source, plan, made / "images.data")
    finally:
        source.close()
    words = ("train", plan.path, "--data", made / "images.data", "--state", made / "native.state", "--json")
    done = subprocess.run([made / "mest-run", *words], capture_output=True, text=True, check=True, timeout=120)
    return (made / "native.state").read_bytes(), json.loads(done.stdout)


def add_samples(page: chromium.Browser, made: Path) -> None:
    """Show the files of each class and press its button."""
    for label in range(CLASSES):
        page.give_files("#files", [made / f"{label * EACH + place:02d}.png" for place in range(EACH)])
        page.wait(
            f"document.querySelectorAll('#tray canvas').length === {EACH} && document.querySelector('#reading li')"
        )
        page.press(f"#class-{label}")
        page.wait(f"document.getElementById('counted').textContent.startsWith('{(label + 1) * EACH}')")


def status(page: chromium.Browser) -> str:
    """What the page says of the run."""
    said: str = page.value("document.getElementById('status').textContent")
    return said


def test_the_run_is_that_of_the_program(made: Path, native: tuple[bytes, dict[str, Any]], tmp_path: Path) -> None:
    """Samples by files, trained: the state of mest-run byte for byte, there again after a reload; and no request."""
    state, said = native
    with chromium.browser(tmp_path / "profile") as page:
        page.open(f"file://{made}/page.html", READY)
        assert page.value("document.title") == "Five <kinds>"
        add_samples(page, made)
        page.press("#train")
        page.wait("document.getElementById('status').textContent.startsWith('Done')")
        assert page.value("document.getElementById('alarm').hidden"), page.value(
            "document.getElementById('alarm').textContent"
        )
        assert page.downloaded(tmp_path / "one", "#download", "artifact.state") == state
        assert page.downloaded(tmp_path / "one", "#download-plan", "artifact.mest") == (made / "page.mest").read_bytes()
        words = status(page)
        for accuracy in (said["accuracy_before"], said["accuracy_after"]):
            assert f"{100 * accuracy:.1f}\u00a0%" in words
        assert page.value("document.querySelector('#curve .loss').getAttribute('points').split(' ').length") == EPOCHS

        page.open(f"file://{made}/page.html", READY)
        assert page.value("document.getElementById('counted').textContent") == f"{CLASSES * EACH}\u00a0samples."
        assert status(page) == words
        assert page.downloaded(tmp_path / "two", "#download", "artifact.state") == state
        assert page.requests() == []
        problems = [each for each in page.events if each.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded")]
        assert problems == []


def test_a_state_comes_home(made: Path, native: tuple[bytes, dict[str, Any]], tmp_path: Path) -> None:
    """What the page hands out, which is what the program wrote, is an ordinary state of the accuracy that both say."""
    _, said = native
    assert said["accuracy_after"] > said["accuracy_before"]
    home = tmp_path / "home"
    done = mest("unpack", made / "native.state", "--for", made / "page.mest", "--out", home)
    assert done.returncode == 0, done.stderr
    done = mest("eval", home, "--data", made / "images.npz", "--json")
    assert done.returncode == 0, done.stderr
    words = ("eval", made / "page.mest", "--data", made / "images.data", "--state", made / "native.state", "--json")
    program = subprocess.run([made / "mest-run", *words], capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout)["accuracy"] == json.loads(program.stdout)["accuracy"] > 1 / CLASSES


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--out", "page.htm"), "give a file that ends in .html"),
        (("--out", "page.html", "--module", "none.wasm"), "give mest.wasm"),
        (("--out", "page.html", "--module", "images.npz"), "is no WebAssembly module"),
    ],
)
def test_refusals(made: Path, words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    """One line, exit code 2, and no page."""
    shutil.copy(made / "images.npz", tmp_path)
    given = [word if word.startswith("--") else tmp_path / word for word in words]
    done = mest("page", made / "artifact", *given)
    assert (done.returncode, message in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
    assert not (tmp_path / "page.html").exists()
