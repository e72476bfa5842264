"""The examples run as they stand, and come to what they claim."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from export.checks.observe import native_missing

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def example(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(native_missing() is not None, reason=str(native_missing()))
def test_a_loop_goes_to_the_board_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The board learns the new sensor, and the loop keeps what it learned while it trains on."""
    found = example("own_loop_to_board", monkeypatch).main(tmp_path)
    assert found["before the board, new sensor"] < 0.6
    assert found["after the board, new sensor"] > 0.8
    assert min(found["trained on, new sensor"], found["trained on, old sensor"]) > 0.85
    assert 0.8 <= found["weight sparsity"] < 0.801
    assert {path.name for path in tmp_path.iterdir()} == {"artifact", "state"}


@pytest.mark.skipif(native_missing() is not None, reason=str(native_missing()))
def test_windows_of_a_sensor_go_to_the_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The board tells the waves apart."""
    assert example("sensor_windows_to_board", monkeypatch).main(tmp_path)["accuracy"] > 0.9
    assert (tmp_path / "artifact" / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("huggingface_trainer", "transformers"),
        ("accelerate_loop", "accelerate"),
        ("lightning_trainer", "lightning"),
        ("timm_loop", "timm"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_other_libraries_train_sparse_and_export(
    name: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In forty lines, blank ones not counted; the artifact was verified as it was written."""
    lines = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 40
    pytest.importorskip(library, reason=f"{library} is not installed (docs/own-loop.md)")
    found = example(name, monkeypatch).main(tmp_path, epochs=2)
    assert 0.8 <= found["weight sparsity"] < 0.81
    assert (tmp_path / "artifact" / "manifest.json").is_file()
