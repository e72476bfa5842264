"""compile, pack, unpack and runner as commands: their objects, their files and their refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from finetune_example import mest
from native_artifact import write_artifact, write_images
from native_networks import resnet

from edge.libmest import library

pytestmark = pytest.mark.skipif(not library.available()[0], reason=f"needs the library: {library.available()[1]}")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Path]:
    """An artifact and images for it."""
    folder, network = tmp_path_factory.mktemp("made"), resnet("block", 0.75, blocks=1, width=8, size=8, classes=5)
    return write_artifact(folder / "artifact", network), write_images(folder / "images.npz", network, 21)


def said(*words: object) -> dict:
    """The object that a command prints."""
    done = mest(*words, "--json")
    assert done.returncode == 0, done.stderr
    found: dict = json.loads(done.stdout)
    return found


def test_a_plan_is_compiled_and_data_are_packed_for_it(made: tuple[Path, Path], tmp_path: Path) -> None:
    """The parts of the plan add up to its peak; without data there is a program for every size of piece."""
    artifact, images = made
    plan, data = tmp_path / "plan.mest", tmp_path / "samples.data"
    words = ("compile", artifact, "--batch-size", 4, "--memory-budget", "2MiB", "--out", plan)
    found = said(*words)
    assert found["bytes"] == plan.stat().st_size
    assert found["pieces"] == [1, 2, 3, 4]
    assert found["planned_peak_bytes"] == sum(part["bytes"] for part in found["contributors"]) <= found["budget_bytes"]
    counted = said(*words, "--data", images, "--hold-out", 0.3)
    assert counted["pieces"] == [3, 4]
    assert counted["bytes"] < found["bytes"]
    packed = said("pack", images, "--for", plan, "--out", data)
    assert (packed["samples"], packed["test"], packed["bytes"]) == (21, 0, data.stat().st_size)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("compile", "ART", "--gradient-weight", 1, "--out", "NEW"), 2, "applies to mutation; give --mutate"),
        (("compile", "ART", "--mutate", "em", "--trainable", "last:1", "--out", "NEW"), 2, "no sparse layer"),
        (("compile", "ART", "--memory-budget", "300KiB", "--out", "NEW"), 3, "give --memory-budget"),
        (("pack", "DATA", "--for", "DATA", "--out", "NEW"), 4, "is no compiled plan"),
        (("unpack", "NEW", "--for", "DATA", "--out", "NEW"), 4, "is no compiled plan"),
        (("runner", "--target", "linux-m68k", "--out", "NEW"), 2, "allowed are linux-x86_64, linux-aarch64"),
        (("runner", "--library", "--target", "linux-x86_64", "--out", "DATA"), 2, "is no folder"),
        (("runner", "--target", "wasm32", "--out", "NEW"), 2, "has no program mest-run; give --library"),
    ],
)
def test_refusals(made: tuple[Path, Path], tmp_path: Path, words: tuple[str, ...], code: int, message: str) -> None:
    """One line, the exit code, and nothing is written."""
    known = {"ART": made[0], "DATA": made[1], "NEW": tmp_path / "new"}
    done = mest(*(known.get(word, word) for word in words))
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()
