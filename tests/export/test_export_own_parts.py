"""A run with a scheme of one's own goes to the board as it is, does not move there, and comes back as it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from export.checks.observe import native_missing
from export.source import rule_notes
from mest.cli import main
from mest.train.run import load_run

KERNEL = """
from mest.sparse import Scheme, Score

class Kernel(Scheme):
    name = "kernel_of_one_s_own"
    def problem(self, shape, groups=1):
        return None if len(shape) == 4 else "no kernels; use scheme irregular"
    def grid(self, shape):
        return shape[:2]
    def unit_scores(self, score):
        return score.flatten(2).square().sum(2).sqrt()
    def expand(self, units, shape):
        return units[:, :, None, None].expand(shape)

class Square(Score):
    name = "square_of_one_s_own"
    def __call__(self, weight, gradient):
        return weight ** 2
"""


@pytest.mark.skipif(native_missing() is not None, reason=str(native_missing()))
def test_whole_kernels_stay_whole_on_the_way_to_the_board_and_back(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutation is refused at export and on the board; fine-tuning without it returns exactly the kernels that went."""
    (tmp_path / "kernel_parts.py").write_text(KERNEL)
    monkeypatch.chdir(tmp_path)
    own = ["--scheme", "kernel_parts:Kernel", "--score", "kernel_parts:Square"]
    words = ["--data", "digits", "--sparsity", "0.8", "--epochs", "1", "--device", "cpu", "--out", "run"]
    assert main(["train", *words, *own]) == 0
    before = load_run("run")

    assert main(["export", "run", "--out", "art", "--mutate", "em"]) == 2
    refusal = capsys.readouterr().err
    assert "has scheme kernel_of_one_s_own, which no board knows" in refusal
    assert not Path("art").exists()
    assert main(["export", "run", "--out", "art"]) == 0
    capsys.readouterr()
    manifest = json.loads(Path("art/manifest.json").read_text())
    assert {layer["scheme"] for layer in manifest["layers"]} == {None, "kernel_of_one_s_own"}

    with np.load(Path(load_run.__code__.co_filename).parents[1] / "data" / "digits.npz") as file:
        np.savez("new.npz", images=file["images"][:200], labels=file["labels"][:200])
    tune = ["finetune", "art", "--data", "new.npz", "--epochs", "1", "--out", "state"]
    assert main([*tune, "--mutate", "em"]) == 2
    assert "has scheme kernel_of_one_s_own, which no board knows" in capsys.readouterr().err
    assert not Path("state/state.json").exists()
    assert main(tune) == 0
    assert main(["export", "state", "--out", "back"]) == 0
    back = load_run("back")
    assert all(torch.equal(mask, before.masks[name]) for name, mask in back.masks.items())
    assert not torch.equal(back.model.fc.weight, before.model.fc.weight)
    assert main(["train", "--from", "back", "--epochs", "1", "--device", "cpu", "--out", "on"]) == 0
    for mask in load_run("on").masks.values():
        assert torch.equal(mask.flatten(2).any(2), mask.flatten(2).all(2))


def test_rules_that_stay_on_the_workstation_are_said() -> None:
    """A board's mutation goes by magnitude and chance, whatever the run went by."""
    assert rule_notes(None, None) == rule_notes("magnitude+gradient:0.1", "random") == ()
    assert rule_notes("mine:Score", "gradient") == (
        "score mine:Score and growth gradient stay on the workstation: a board that mutates removes by magnitude and "
        "grows at random",
    )
