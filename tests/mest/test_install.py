"""The advice for a missing package works from a checkout and from a wheel, and never names an index's `mest`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mest.install
from mest.install import how_to_install

METADATA = [
    "numpy>=1.24",
    'torch>=2.6; extra == "train"',
    'pyyaml>=6; extra == "train"',
    'mest[train]; extra == "export"',
    'onnx>=1.16; extra == "export"',
    'matplotlib>=3.7; extra == "plots"',
    "onnxruntime-training-cpu==1.19.2; (python_version < '3.13') and extra == 'ort'",
]


def test_a_checkout_is_named_by_its_path() -> None:
    """Quoted, as a path may hold a space."""
    root = Path(__file__).resolve().parents[2]
    assert how_to_install("train") in (f"pip install -e '{root}[train]'", f"pip install -e {root}[train]")


@pytest.mark.parametrize(
    ("extra", "command"),
    [
        ("train", "pip install 'torch>=2.6' 'pyyaml>=6'"),
        ("export", "pip install 'torch>=2.6' 'pyyaml>=6' 'onnx>=1.16'"),
        ("plots", "pip install 'matplotlib>=3.7'"),
        ("ort", "pip install onnxruntime-training-cpu==1.19.2"),
        ("other", "README.md, 'Installing', says what the extra 'other' holds"),
    ],
)
def test_a_wheel_names_the_packages(extra: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of an included extra too."""
    monkeypatch.setattr(mest.install, "ROOT", tmp_path)
    monkeypatch.setattr(mest.install, "requires", lambda name: METADATA)
    assert how_to_install(extra) == command


@pytest.mark.parametrize(
    ("package", "arguments"),
    [("yaml", ["train"]), ("torch", ["train"]), ("torch", ["train", "--help"]), ("torch", ["demo"])],
)
def test_a_missing_package_ends_with_that_advice(package: str, arguments: list[str], tmp_path: Path) -> None:
    """In a process that has imported nothing yet, and in what it starts: exit 2, and a command that brings it."""
    (tmp_path / f"{package}.py").write_text(
        f"raise ModuleNotFoundError('No module named {package}', name='{package}')\n"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(mest.install.__file__).parents[1])])
    command = [sys.executable, "-m", "mest", *arguments, "--out", str(tmp_path / "out")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": path})
    assert ended.returncode == 2
    assert f"needs the package {package}, which is not installed" in ended.stderr
    assert how_to_install("train") in ended.stderr
    assert "'mest[" not in ended.stderr
    assert "Traceback" not in ended.stderr
