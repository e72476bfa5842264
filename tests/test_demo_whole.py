"""The demo as a user starts it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["digits", "sensors"])
@pytest.mark.parametrize("seed", range(5))
def test_the_demo_keeps_its_promises(tmp_path: Path, seed: int, scenario: str) -> None:
    """It ends with exit code 0 and a report, whatever the seed; its commands in an empty folder make the page again."""
    pytest.importorskip("torch", reason="the demo trains in torch")
    pytest.importorskip("onnxscript", reason="the demo exports with onnxscript")
    where = ["--out", str(tmp_path / "demo"), "--seed", str(seed), "--json"]
    command = [sys.executable, "-m", "mest", "demo", scenario, *where]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["passed"]
    assert result["accuracy_after"] > result["accuracy_before"]
    assert result["measured_peak_bytes"] <= result["budget_bytes"] <= result["pytorch"]["measured_peak_bytes"] / 2
    assert result["refused_budget_bytes"] < result["least_budget_bytes"] < result["budget_bytes"]
    page = Path(result["report"]).read_text()
    assert "<svg" in page
    again = tmp_path / "again"
    again.mkdir()
    shell = subprocess.run(["sh", tmp_path / "demo" / "commands.sh"], cwd=again, capture_output=True, check=False)
    assert shell.returncode == 0, shell.stderr
    assert headings((again / "report.html").read_text()) == headings(page)


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)
