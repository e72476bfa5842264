"""A user's own edge.py or export.py hides none of our packages, and where something does, one line says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from mest.cli import siblings

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files that bear the names of our packages and break whoever imports them."""
    for name in ("edge", "export"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the wrong one')\n")
    return tmp_path


def run(folder: Path, *words: str, path: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    around = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-m", "mest", *words]
    return subprocess.run(command, cwd=folder, env=around, capture_output=True, text=True, check=False)


def test_the_current_folder_hides_no_package_of_ours(folder: Path) -> None:
    """Neither from the command nor from the process that it starts to measure."""
    done = run(folder, "board", "--json")
    assert done.returncode == 0, done.stderr
    board = json.loads(done.stdout)
    native = board["engines"]["native"]
    if native["available"] and not board["emulated"]:
        assert native["baseline_bytes"] > 0, native


def test_children_find_our_packages_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of ours started there imports ours."""
    from edge.host.child import child

    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend("")
    command, environment = child("import edge, export; print(edge.__file__, sys.argv[1])", "word")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(ROOT / "edge" / "__init__.py"), "word"]


def test_a_model_of_ones_own_in_the_current_folder_is_found(tmp_path: Path) -> None:
    """`--model mine:NAME` reads mine.py there, also when started by `python -m mest`."""
    (tmp_path / "mine.py").write_text("answer = 42\n")
    done = run(tmp_path, "train", "--model", "mine:answer", "--data", "digits", "--out", "run")
    assert done.returncode == 2
    assert "mine:answer" in done.stderr
    assert "answer is a int; give a class or a function" in done.stderr, done.stderr


@pytest.mark.parametrize("words", [["board"], ["train", "--data", "digits"]])
def test_a_stranger_that_comes_first_is_named_in_one_line(folder: Path, words: list[str]) -> None:
    """PYTHONPATH puts a file before ours: exit 2 with its path, and no traceback."""
    done = run(folder.parent, *words, path=f"{folder}{os.pathsep}{ROOT}")
    assert done.returncode == 2
    assert done.stderr.startswith(f"mest {words[0]}: the package 'edge' that belongs to mest is hidden by {folder}")
    assert done.stderr.count("\n") == 1


def test_a_package_installed_over_ours_is_a_stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies where ours did, so its text tells; a package that is gone is said too."""
    assert siblings.stranger() is None
    (tmp_path / "mest").mkdir()
    over = tmp_path / "edge" / "__init__.py"
    over.parent.mkdir()
    over.write_text('"""Another distribution."""\n')
    monkeypatch.setattr(siblings.mest, "__file__", str(tmp_path / "mest" / "__init__.py"))
    monkeypatch.setattr(siblings, "find_spec", lambda name: ModuleSpec(name, None, origin=str(over)))
    said = siblings.stranger()
    assert said is not None
    assert f"hidden by {over}" in said
    monkeypatch.setattr(siblings, "find_spec", lambda name: None)
    assert siblings.stranger() == "the package 'edge' that belongs to mest is missing; install mest again"
