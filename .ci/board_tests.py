"""Copies the tests that a board without PyTorch and onnx can run, and what they import of each other, into one folder.

usage: .ci/board_tests.py FOLDER
"""

from __future__ import annotations

import ast
import shutil
import sys
from pathlib import Path

NOT_ON_A_BOARD = {"torch", "torchvision", "onnx", "onnxruntime", "mest", "export", "hypothesis"}


def imported(path: Path) -> set[str]:
    """The modules that a file imports, also within its functions, and those that it skips without."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Attribute) and node.attr == "importorskip":
            names.add("torch")  # whatever it is, a board's referees have no need of it
    return names


def for_boards(root: Path) -> list[Path]:
    """The files below tests/edge and tests/builders that reach nothing which a board lacks, through no other file.

    One folder holds one conftest.py: that of tests/edge. Tests below another one are left out.
    """
    files = {path.stem: path for folder in ("edge", "builders") for path in sorted((root / folder).rglob("*.py"))}
    others = {path.parent for path in (root / "edge").rglob("conftest.py")} - {root / "edge"}
    files = {name: path for name, path in files.items() if not others & set(path.parents)}
    files["conftest"] = root / "edge" / "conftest.py"
    reached = {name: imported(path) for name, path in files.items()}
    lacking = set(NOT_ON_A_BOARD)
    while more := {name for name, modules in reached.items() if modules & lacking} - lacking:
        lacking |= more
    return [path for name, path in files.items() if name not in lacking]


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for path in for_boards(Path(__file__).resolve().parent.parent / "tests"):
        shutil.copy(path, target)
