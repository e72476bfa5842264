"""The import rules that keep the three stages apart, read from the sources and tried in a bare interpreter."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from bench.rooms import circles, imports, rooms

ROOT = Path(__file__).resolve().parents[1]
TORCH_IN_EXPORT = {f"export/{name}.py" for name in ("capture", "checks/verify", "restore", "live", "returned")}
OPTIONAL = {"torch", "torchvision", "yaml", "onnx", "onnxscript", "onnx_ir", "onnxruntime", "matplotlib", "sklearn"}


def imported_roots(path: Path) -> set[str]:
    """Top-level names that a file imports anywhere, inside functions too, type-checking blocks excepted."""
    roots: set[str] = set()
    tree = ast.parse(path.read_text())
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            roots.add(node.module.split(".")[0])
    return roots


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", sources("edge"), ids=lambda p: str(p.relative_to(ROOT)))
def test_edge_knows_nobody(path: Path) -> None:
    """A board module imports neither another stage nor the workstation's libraries."""
    banned = {"mest", "export", "torch", "torchvision", "onnx", "yaml", "matplotlib", "onnxscript"}
    where = path.relative_to(ROOT).as_posix()
    if not where.startswith("edge/engines/ort/") and where != "edge/host/facts.py":
        banned.add("onnxruntime")
    assert not imported_roots(path) & banned


@pytest.mark.parametrize("path", sources("mest"), ids=lambda p: str(p.relative_to(ROOT)))
def test_mest_knows_no_other_stage(path: Path) -> None:
    """A workstation module outside the command line imports neither export nor edge."""
    if "cli" not in path.relative_to(ROOT).parts:
        assert not imported_roots(path) & {"edge", "export"}


@pytest.mark.parametrize("path", sources("export"), ids=lambda p: str(p.relative_to(ROOT)))
def test_torch_stays_in_the_capture_and_verify_modules(path: Path) -> None:
    """Only the modules that touch a live model import torch in export."""
    if path.relative_to(ROOT).as_posix() not in TORCH_IN_EXPORT:
        assert "torch" not in imported_roots(path)


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Not inside functions and not for type checking either."""
    assert circles(imports(ROOT)) == []


@pytest.mark.parametrize("package", ["mest", "edge", "export"])
def test_no_rooms_import_each_other_in_a_circle(package: str) -> None:
    """The folders and files of a package lie on floors: arrows go down."""
    assert circles(rooms(imports(ROOT), package)) == []


def test_the_command_line_and_the_board_need_the_base_install_alone() -> None:
    """Every command module and every edge module but the ort engine imports with the optional packages hidden."""
    names = [f"mest.cli.{p.stem}" for p in sources("mest/cli") if p.stem != "__init__"]
    names += ["mest", "mest.cli", "export.checks.check"]  # mest verify runs on a board
    names += [
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for p in sources("edge")
        if p.name != "__main__.py"
    ]
    code = f"""
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {OPTIONAL!r}:
            raise ModuleNotFoundError(f'hidden: {{name}}', name=name)
sys.meta_path.insert(0, Hidden())
import importlib
for name in {names!r}:
    importlib.import_module(name)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
