"""Where the kernel shows no counters, every command says that the budget is not enforced, and its JSON says why."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from finetune_example import environment, make_artifact, shifted  # noqa: F401 - fixtures
from PIL import Image

from edge.engines.available import engine_available
from edge.plan.choices import ENGINES

HERE = [name for name in ENGINES if engine_available(name)[0]]
pytestmark = pytest.mark.skipif(not HERE, reason="needs an engine: neither native nor ort runs here")

WITHOUT_PROC = """
import sys
import edge.host.counters as memory
memory.read_counters = lambda: memory.Counters(None, None, None, None)
memory.emulator = lambda: None
from mest.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_an_empty_proc_is_said_by_every_command(make_artifact, shifted, tmp_path):  # noqa: F811
    """In one line, and in the object and the record; nothing claims to lie within the budget."""
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    artifact, budget = make_artifact(), ("--memory-budget", "8MiB", "--threads", 1, "--engine", HERE[0], "--json")
    state = tmp_path / "s"
    for words in (
        ("plan", artifact),
        ("finetune", artifact, "--data", shifted, "--out", state, "--epochs", 1, "--hold-out", 0.3),
        ("eval", artifact, "--data", shifted),
        ("predict", artifact, tmp_path / "a.png"),
        ("profile", artifact, "--out", tmp_path / "p", "--steps", 1),
    ):
        command = [sys.executable, "-c", WITHOUT_PROC, *map(str, (*words, *budget))]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
        assert done.returncode == 0, done.stderr
        said = [line for line in done.stderr.splitlines() if "is not enforced" in line]
        assert len(said) == 1, (words[0], done.stderr)
        assert "no VmHWM" in said[0]
        result = json.loads(done.stdout)
        assert result["baseline_bytes"] is None
        if words[0] != "plan":
            assert result["measured_peak_bytes"] is None
            assert "no VmHWM" in result["measured_reason"]
            assert result.get("within_budget") is None
    record = json.loads((state / "record.json").read_text())
    assert "no VmHWM" in record["measured"]["peak_bytes"]["reason"]
    assert "only the planned arena was checked" in record["measured"]["limit"]["guarantee"]
