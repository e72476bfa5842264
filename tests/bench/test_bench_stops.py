"""The way of a budget to the first step, as the ruler of the benches counts it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from finetune_example import ROOT, environment
from native_artifact import write_artifact, write_images
from native_networks import resnet

from edge.engines.available import engine_available

USABLE, MISSING = engine_available("native")
pytestmark = pytest.mark.skipif(not USABLE, reason=f"needs the native engine: {MISSING}")


@pytest.fixture(scope="module")
def counted(tmp_path_factory) -> dict:
    """What the ruler says of a run whose epoch ends in a smaller batch: two sizes of pieces, and predictions."""
    folder: Path = tmp_path_factory.mktemp("stops")
    network = resnet("block", 0.9, width=4, size=8)
    artifact, data = write_artifact(folder / "artifact", network), write_images(folder / "images.npz", network, 50)
    command = [sys.executable, "-m", "bench.stops", str(artifact), str(data), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_budget_reaches_the_first_step_in_few_stops(counted) -> None:
    """At most forty functions lead to an act of planning, limiting, opening or stepping."""
    assert counted["stops"] <= 40, "\n".join(counted["way"])


@pytest.mark.parametrize(("function", "times"), [("build_model", 1), ("training_listing", 2), ("plan_arena", 3)])
def test_what_is_planned_is_opened_and_not_planned_again(counted, function: str, times: int) -> None:
    """The graph is built once, each list of steps is written once and placed once."""
    assert counted["acts"][function] == times


@pytest.mark.parametrize("function", ["open_artifact", "read_manifest", "read_network"])
def test_each_file_of_an_artifact_is_read_once(counted, function: str) -> None:
    """Whoever needs its contents gets what was read."""
    assert counted["acts"][function] == 1


def test_a_new_run_from_a_state_asks_once_what_the_state_says(tmp_path) -> None:
    """Its artifact, its engine and its choices come from one reading of its facts; its manifest is read once too."""
    network = resnet("block", 0.9, width=4, size=8)
    artifact, data = write_artifact(tmp_path / "artifact", network), write_images(tmp_path / "images.npz", network, 50)
    command = [sys.executable, "-m", "mest", "finetune", artifact, "--data", data, "--out", tmp_path / "state"]
    command += ["--engine", "native", "--epochs", 1, "--hold-out", 0, "--quiet"]
    subprocess.run([str(word) for word in command], env=environment(), check=True, cwd=ROOT)
    command = [sys.executable, "-m", "bench.stops", str(tmp_path / "state"), str(data), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    acts = json.loads(done.stdout)["acts"]
    assert (acts["read_facts"], acts["read_manifest"], acts["read_network"], acts["build_model"]) == (1, 1, 1, 1)
