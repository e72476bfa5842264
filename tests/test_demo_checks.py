"""The demo fails when one of its promises is broken, and says which."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from demo_example import make_folder, make_walk

from mest.cli import main
from mest.demo import walk as walking
from mest.demo.checks import checks, failure
from mest.demo.commands import Interrupted
from mest.demo.scenario import SENSORS
from mest.demo.walk import MIB


def test_a_walk_that_keeps_every_promise_passes(tmp_path: Path) -> None:
    """Nothing is said to have failed."""
    found = checks(make_walk(tmp_path))
    assert all(check.passed for check in found)
    assert failure(found) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"accuracy_before": 0.9}, "Accuracy rises: 90.0 %"),
        ({"zeros_kept": False}, "Zeros are kept"),
        ({"sparsity": 0.89}, "Zeros are kept: 89.0 %"),
        ({"measured_peak_bytes": 45 * MIB + 1}, "The peak stays within the budget: 45.0 MiB"),
        ({"budget_bytes": 47 * MIB}, "the budget was 47.0 MiB"),  # more than a tenth above the least
        ({"measured_peak_bytes": None, "measured_reason": "emulated"}, "not measured (emulated)"),
    ],
)
def test_each_broken_promise_fails_the_demo(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    """One number out of line is named, and nothing else is."""
    found = checks(make_walk(tmp_path, **changes))
    assert sum(not check.passed for check in found) == 1
    assert said in (failure(found) or "")


def test_a_budget_above_half_of_pytorchs_peak_is_not_accepted(tmp_path: Path) -> None:
    """The comparison is part of the promise."""
    walk = make_walk(tmp_path)
    pytorch = replace(walk.done["pytorch"], result={**walk.result("pytorch"), "measured_peak_bytes": 80 * MIB})
    walk = replace(walk, done={**walk.done, "pytorch": pytorch})
    assert "within the budget" in (failure(checks(walk)) or "")


@pytest.mark.parametrize(
    ("imported", "said"),
    [({"numpy", "torch"}, "it imported torch"), (set(), "its log does not say what it imported")],
)
def test_a_process_that_imports_torch_fails_the_demo(tmp_path: Path, imported: set[str], said: str) -> None:
    """What the process imported is read from its own log; an empty log shows nothing."""
    walk = make_walk(tmp_path)
    finetune = replace(walk.done["finetune"], imported=frozenset(imported))
    assert said in (failure(checks(replace(walk, done={**walk.done, "finetune": finetune}))) or "")


def demo(monkeypatch: pytest.MonkeyPatch, out: Path, **changes: Any) -> int:
    monkeypatch.setattr(walking, "walk", lambda folder, settings, commands, say: make_walk(folder, **changes))
    return main(["demo", "--out", str(out), "--json"])


def test_the_command_ends_in_a_report_and_a_json_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0, the report on disk, the numbers of both contenders, and why ort was not used."""
    assert demo(monkeypatch, tmp_path / "demo") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["passed"]
    assert result["pytorch"]["measured_peak_bytes"] == 300 * MIB
    assert result["notes"] == [
        "onnxruntime-training is not used here (no wheel for this Python); the native engine fine-tuned.",
        "A page to draw digits in takes a compiler for it: pip install ziglang, and run the demo again.",
    ]
    assert result["least_budget_bytes"] < result["budget_bytes"] < 2 * result["least_budget_bytes"]
    page = Path(result["report"]).read_text().replace("\u00a0", " ")
    assert page.count("<script>") == 1  # the one that the page's policy names
    page = re.sub("</?span>", "", page)
    for fact in (
        "Accuracy rises",
        "40.0 MiB",
        "300.0 MiB",
        "no wheel for this Python",
        "memory budget 40.1 MiB cannot be met",
        "8 times less memory (40.0 MiB; of PyTorch's 300.0 MiB, its build for CUDA holds 200.0 MiB at rest)".replace(
            "'", "&#x27;"
        ),
        "and 3.3 times faster than PyTorch",
        "its build for CUDA) holds 200.0 MiB at rest, and fine-tuning adds 100.0 MiB: 66.7 % of its peak is this build",
        "mest demo --page --out .",
        "wrong ✗ → 0 ✓",
        "data:image/png",
    ):
        assert fact in page


def test_the_sensors_demo_shows_signals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Windows are drawn as curves, a line for each channel, and the words are of wrists, not of digits."""
    make_folder(tmp_path, scenario=SENSORS)
    assert main(["demo", "sensors", "--page", "--out", str(tmp_path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["scenario"] == "sensors"
    assert "the other wrist's windows went from 50.0 % to 90.0 %" in said["won"]
    page = (tmp_path / "report.html").read_text()
    pictures = page.split("<h2>")[1]
    assert pictures.startswith("What the other wrist gives")
    assert pictures.count("<svg") == 20
    assert pictures.count("<path") == 20 * 6
    assert "mest demo sensors --page --out ." in re.sub("</?span>", "", page)
    assert "digit" not in page


def test_a_broken_promise_ends_with_one_line_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report is written all the same, and says what failed."""
    assert demo(monkeypatch, tmp_path / "demo", zeros_kept=False) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["passed"] is False
    assert printed.err.startswith("mest demo: failed: Zeros are kept")
    assert (tmp_path / "demo" / "report.html").is_file()


def test_an_interrupted_demo_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is that of the signal, without a traceback."""

    def interrupted(*_: Any) -> None:
        raise Interrupted

    monkeypatch.setattr(walking, "walk", interrupted)
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 143
    assert "start again with another --out" in capsys.readouterr().err


def test_a_directory_that_holds_something_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is overwritten."""
    (tmp_path / "precious").write_text("x")
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "not empty; give a new directory" in capsys.readouterr().err


def test_what_the_commands_left_is_made_into_the_page_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing runs; onnxruntime-training is shown where its answer lies there, and what is missing is named."""
    make_folder(tmp_path, ort=True)
    assert main(["demo", "--page", "--out", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ort"]["measured_peak_bytes"] == 70 * MIB
    assert "onnxruntime-training (ort engine)" in (tmp_path / "report.html").read_text()
    (tmp_path / "said" / "eval.json").unlink()
    assert main(["demo", "--page", "--out", str(tmp_path)]) == 2
    assert "eval.json is missing; run 'mest eval state --data" in capsys.readouterr().err
