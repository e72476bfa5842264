"""A model of today's operators from training to the board and back, on the one engine that can run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from finetune_example import environment

from edge.engines.available import engine_available

pytest.importorskip("torch", reason="needs torch to train the example")
pytestmark = pytest.mark.skipif(
    not engine_available("ort")[0], reason=f"needs engine ort: {engine_available('ort')[1]}"
)
MODELS = Path(__file__).parents[3] / "builders"  # foreign_models.py


def mest(*arguments: object) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own, with the example's models to import."""
    around = environment()
    around["PYTHONPATH"] = os.pathsep.join([around["PYTHONPATH"], str(MODELS)])
    command = [sys.executable, "-m", "mest", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=around, check=False)


def found(*arguments: object) -> dict:
    """The JSON of a command that must succeed."""
    done = mest(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module", params=["vit", "gated"])
def artifact(request, tmp_path_factory) -> Path:
    """A trained model of each kind as an artifact with room for EM&S."""
    folder = tmp_path_factory.mktemp(request.param)
    scheme = {"vit": "block", "gated": "irregular"}[request.param]
    options = ["--data", "digits", "--scheme", scheme, "--sparsity", "0.8", "--epochs", "1", "--out", folder / "run"]
    found("train", "--model", f"foreign_models:{request.param}", *options)
    told = found("export", folder / "run", "--out", folder / "art", "--mutate", "ems")
    assert told["native"] == {"available": False, "reason": told["native"]["reason"]}
    assert "in module" in told["native"]["reason"]
    return folder / "art"


def test_export_says_in_one_line_what_is_missing(artifact, tmp_path):
    """Operator and module, on standard output; the checks elsewhere repeat it."""
    done = mest("export", artifact.parent / "run", "--out", tmp_path / "art")
    (line,) = [line for line in done.stdout.splitlines() if "no native network" in line]
    assert "operator " in line
    assert "in module" in line
    assert found("verify", artifact)["skipped"]["native"].startswith("the artifact has none: operator ")


def test_auto_takes_ort_and_says_why_and_native_is_refused(artifact, tmp_path):
    """Every board command names operator and module, and what can be done, with exit 2."""
    plan = found("plan", artifact)
    assert plan["engine"] == "ort"
    assert "no native network: operator " in plan["engine_reason"]
    for command in (
        ["plan"],
        ["eval", "--data", "digits"],
        ["finetune", "--data", "digits", "--out", tmp_path / "state"],
    ):
        done = mest(command[0], artifact, *command[1:], "--engine", "native")
        assert done.returncode == 2
        assert "in module" in done.stderr
        assert "use --engine ort" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_fine_tuning_mutates_within_a_budget_and_goes_back(artifact, tmp_path):
    """EM&S on the board, the state predicts and evaluates alike, and its weights come back as a run."""
    state, image = tmp_path / "state", tmp_path / "image.npz"
    options = ["--data", "digits", "--epochs", "1", "--batch-size", "16", "--memory-budget", "120MiB", "--lr", "0.02"]
    done = found("finetune", artifact, *options, "--mutate", "ems", "--mutate-every", "9", "--out", state)
    assert done["engine"] == "ort"
    assert done["mutations"] > 3
    assert done["zeros_kept"]
    assert done["sparsity"] == pytest.approx(0.8, abs=0.01)
    assert done["within_budget"] in (True, None)
    if done["measured_peak_bytes"] is not None:
        assert 0.6 * done["planned_peak_bytes"] < done["measured_peak_bytes"] <= done["planned_peak_bytes"]
    on_board = found("eval", state, "--data", "digits")
    assert on_board["engine"] == "ort"
    back = found("export", state, "--out", tmp_path / "back")
    assert back["engine"] == "ort"
    with np.load(artifact.parents[0] / "art" / "reference.npz") as batch:
        np.savez(image, images=batch["images"])
    check = (
        "import sys, numpy as np, torch\n"
        "from mest.train.run import load_run\n"
        "from edge import load\n"
        "images = np.load(sys.argv[1])['images']\n"
        "run = load_run(sys.argv[2], 'last')\n"
        "theirs = run.model.eval()(torch.from_numpy(images)).detach().numpy()\n"
        "with load(sys.argv[3]) as board: ours = board.predict(images)\n"
        "assert np.abs(ours - theirs).max() <= 1e-5 * max(1, np.abs(theirs).max()), np.abs(ours - theirs).max()\n"
        "weights = dict(run.model.named_parameters())\n"
        "assert run.masks and not any((weights[name] * ~mask).any() for name, mask in run.masks.items())\n"
    )
    around = environment()
    around["PYTHONPATH"] = os.pathsep.join([around["PYTHONPATH"], str(MODELS)])
    command = [sys.executable, "-c", check, str(image), str(tmp_path / "back"), str(state)]
    checked = subprocess.run(command, capture_output=True, text=True, env=around, check=False)
    assert checked.returncode == 0, checked.stderr


def test_profile_reports_the_plan(artifact, tmp_path):
    """Steps are timed, and foreign operators stand in the plan by their names."""
    told = found("profile", artifact, "--out", tmp_path, "--steps", "2", "--batch-size", "8")
    assert told["engine"] == "ort"
    steps = json.loads((tmp_path / "record.json").read_text())["plan"]["steps"]
    assert any("backward" in step for step in steps)
