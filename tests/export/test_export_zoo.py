"""Every classification model of torchvision: an artifact, or one line that says what is in the way; never a traceback.

Each is exported by the command in a process of its own, from a checkpoint with random weights.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from finetune_example import environment

torchvision = pytest.importorskip("torchvision", reason="the models are torchvision's, which is not installed")

CLASSES = 4
# The smallest side that a family takes; the others take 64.
SIDES = {"inception": 299, "maxvit": 224, "vit": 224}
FEW = ("mobilenet_v3_small", "shufflenet_v2_x0_5")  # gates and shuffled channels, small enough for every run
ALL = torchvision.models.list_models(module=torchvision.models)
CODES = {0, 2}


def exported(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`mest export` of a model's random weights."""
    torch.manual_seed(0)
    chance = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    model = torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **chance)
    torch.save(model.state_dict(), folder / "weights.pt")
    side = next((side for family, side in SIDES.items() if name.startswith(family)), 64)
    words = ["--model", f"torchvision:{name}", "--input-shape", f"3x{side}x{side}", "--class-names", str(CLASSES)]
    words += ["--mean", "0.5", "--std", "0.25", "--out", "art", "-q"]
    command = [sys.executable, "-m", "mest", "export", "weights.pt", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment(), check=False)


def judge(name: str, folder: Path) -> None:
    """An artifact, or one line with an operator or a module in it and nothing written."""
    done = exported(name, folder)
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    assert done.returncode in CODES, done.stderr[-2000:]
    assert (folder / "art").exists() == (done.returncode == 0)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        assert len(said) == 1, done.stderr
        assert said[0].startswith("mest export: ")
        assert "/onnxruntime_src/" not in said[0]
        assert any(word in said[0] for word in ("operator", "module", "differs", "bytes", "GB", "GiB")), said[0]


@pytest.mark.parametrize("name", FEW)
def test_models_of_torchvision_end_in_words(name: str, tmp_path: Path) -> None:
    """Two that hold what engines lack: exported, or refused by operator and module with what would do instead."""
    judge(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(ALL) - set(FEW)))
def test_every_model_of_torchvision_ends_in_words(name: str, tmp_path: Path) -> None:
    """An artifact, or one line; the largest take gigabytes and minutes each."""
    judge(name, tmp_path)
