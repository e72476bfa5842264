"""A page of a small network in a folder, its pictures as files, and the program that trains the same."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import chromium
import numpy as np
import pytest
from compiled_example import program_without_fma
from finetune_example import mest
from native_artifact import write_artifact
from native_networks import resnet

from edge.compiled.packing import pack
from edge.compiled.plan import read_plan
from edge.data.open import open_source
from edge.libmest import library
from edge.libmest.targets import WEB, build_library_for

EPOCHS, CLASSES, EACH, SIDE = 8, 5, 6, 8
READY = "!document.getElementById('work').inert"
DONE = "document.getElementById('status').textContent.startsWith('Done')"
NEEDS = (
    (library.available()[0], f"the library: {library.available()[1]}"),
    (find_spec("ziglang") is not None, "a compiler: pip install ziglang"),
)


def marks(*needs: tuple[bool, str]) -> list[pytest.MarkDecorator]:
    """Marks that leave tests out where something is missing, and say what."""
    return [pytest.mark.skipif(not there, reason=f"needs {what}") for there, what in needs]


MARKS = marks(*NEEDS, (chromium.PROGRAM is not None, "Chromium: apt install chromium"))


class Page(Protocol):
    """What a browser's driver can do."""

    def give_files(self, selector: str, files: Sequence[Path]) -> None:
        """Pick files in a file input."""

    def press(self, selector: str) -> None:
        """Click the middle of an element."""

    def wait(self, expression: str) -> None:
        """Wait until an expression gives something that is true."""


@dataclass(frozen=True)
class Example:
    """Where the module, an artifact and its pictures lie; `program` computes as WebAssembly does."""

    folder: Path
    program: Path

    @property
    def artifact(self) -> Path:
        return self.folder / "artifact"

    def page(self, name: str, *options: object, artifact: Path | None = None) -> Path:
        """A page of this name; its plan lies beside it."""
        out = self.folder / f"{name}.html"
        words = ("--module", self.folder / "module" / "mest.wasm", "--batch-size", 8, "--hold-out", 0.25, "--lr", 0.05)
        done = mest("page", artifact or self.artifact, "--out", out, *words, "--seed", 3, *options, "--json")
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert (said["bytes"], said["plan_bytes"]) == (out.stat().st_size, out.with_suffix(".mest").stat().st_size)
        return out

    def trained(self, page: Path) -> tuple[bytes, dict[str, Any]]:
        """The state that the program trains from a page's plan and the pictures, and what it says."""
        plan, data, state = read_plan(page.with_suffix(".mest")), page.with_suffix(".data"), page.with_suffix(".state")
        source = open_source(str(self.folder / "images.npz"), plan.class_names, self.folder, plan.preprocess)
        try:
            pack(source, plan, data)
        finally:
            source.close()
        state.unlink(missing_ok=True)
        words = (self.program, "train", plan.path, "--data", data, "--state", state, "--json")
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
        return state.read_bytes(), json.loads(done.stdout)

    def show(self, page: Page, label: int) -> None:
        """Pick the files of a class and wait until they are read."""
        page.give_files("#files", [self.folder / f"{label * EACH + place:02d}.png" for place in range(EACH)])
        read = "[...document.querySelectorAll('#tray span')].filter((one) => one.textContent).length"
        page.wait(f"{read} === {EACH}")

    def add_all(self, page: Page) -> None:
        """Show the files of each class and press its button."""
        for label in range(CLASSES):
            self.show(page, label)
            page.press(f"#class-{label}")
            page.wait(f"document.getElementById('counted').textContent.startsWith('{(label + 1) * EACH}')")


def make_example(folder: Path) -> Example:
    """All of it, in a folder; skips where a compiler is missing."""
    pil = pytest.importorskip("PIL.Image", reason="needs Pillow")
    network = resnet("block", 0.75, blocks=1, width=8, size=SIDE, classes=CLASSES)
    write_artifact(folder / "artifact", network)
    build_library_for(WEB, folder / "module")
    program = program_without_fma(folder)
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (CLASSES * EACH, SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.repeat(np.arange(CLASSES), EACH)
    images[..., 0] = images[..., 0] // 4 + labels[:, None, None] * 48  # something to learn
    for place, image in enumerate(images):
        pil.fromarray(image).save(folder / f"{place:02d}.png")
    names = np.array([f"class {label}" for label in range(CLASSES)])
    np.savez(folder / "images.npz", images=images, labels=labels, class_names=names)
    return Example(folder, program)


def text(page: chromium.Browser, name: str) -> str:
    """What a part of the page says."""
    said: str = page.value(f"document.getElementById('{name}').textContent")
    return said


def problems(page: chromium.Browser) -> list[dict[str, Any]]:
    """What the browser's console holds against the page."""
    return [each for each in page.events if each.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded")]


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """The port of a web server over a folder."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
