"""A new run that begins with another's weights and masks, and a run of no epochs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mest.cli import main
from mest.train.checkpoint import load_checkpoint
from mest.train.config import Execution
from mest.train.observer import Observer
from mest.train.recipe import build_config
from mest.train.run import load_run
from mest.train.start import inherited
from mest.train.trainer import train

OFTEN = ("--method", "em", "--mutate-every", "1")
BASE = ["--model", "digits", "--data", "digits", "--device", "cpu"]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs of blocks at 80 %, with options that speak of that run alone."""
    out = tmp_path_factory.mktemp("old") / "run"
    words = ["--scheme", "block", "--sparsity", "0.8", "--epochs", "2", "--warmup", "1", "--lr", "0.05"]
    assert main(["train", *BASE, *words, "--method", "ems", "--out", str(out), "--remark", "the first"]) == 0
    return out


def trained(old: Path, out: Path, *words: str) -> Path:
    assert main(["train", "--from", str(old), "--device", "cpu", "--out", str(out), *words]) == 0
    return out


def test_a_run_of_no_epochs_is_pruned_evaluated_and_exported(tmp_path: Path, capsys) -> None:
    """What it holds is the model as it begins, at its target, with a checkpoint that export and eval take."""
    out = tmp_path / "zero"
    words = ["--epochs", "0", "--scheme", "block", "--sparsity", "0.8", "--method", "ems", "--json"]
    assert main(["train", *BASE, *words, "--out", str(out)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["epochs"], result["best_epoch"]) == (0, -1)
    assert 0.8 <= result["sparsity"] < 0.81
    run = load_run(out)
    assert run.epoch == 0
    for name, mask in run.masks.items():
        assert not run.model.get_parameter(name)[~mask].any()
    assert main(["eval", str(out)]) == 0


def test_weights_and_masks_of_another_run_are_where_a_new_one_begins(old: Path, tmp_path: Path, capsys) -> None:
    """After no epoch all is equal to the old run's best; its options are taken over, its own circumstances are not."""
    new, before = load_run(trained(old, tmp_path / "new", "--epochs", "0")), load_run(old)
    assert "not taken over" in (said := capsys.readouterr().err)
    assert "--remark, --warmup" in said
    after = new.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.model.state_dict().items())
    assert all(torch.equal(mask, before.masks[name]) for name, mask in new.masks.items())
    assert new.config["sparse"] == before.config["sparse"]
    assert (new.config["optimizer"]["lr"], new.config["optimizer"]["warmup_epochs"]) == (0.05, 0)
    description = json.loads((tmp_path / "new" / "run.json").read_text())
    assert description["started_from"]["run"] == str(old)
    assert description["remark"] is None


def test_the_new_run_trains_mutates_and_resumes_alike(old: Path, tmp_path: Path) -> None:
    """Two epochs in one go equal one epoch and another after a resume."""
    whole = trained(old, tmp_path / "whole", "--epochs", "2", *OFTEN)
    first = load_checkpoint(whole / "checkpoints" / "last.pt")
    assert first["epoch"] == 2
    moved = any(not torch.equal(mask, load_run(old).masks[name]) for name, mask in first["masks"].items())
    assert moved
    # As after an interruption between the epochs.
    given = {"epochs": "2", "method": "em", "sp-mask-update-freq": "1"}
    options = {**inherited(old, given)[0], **given}
    stopped = tmp_path / "stopped"
    done: list[int] = []
    observer = Observer(stop=lambda: len(done) == 1, epoch_done=lambda record: done.append(record.epoch))
    execution = Execution(out=stopped, device="cpu", start=old)
    assert train(build_config(options), execution, options, observer).stopped
    assert main(["train", "--resume", "--out", str(stopped), "--device", "cpu"]) == 0
    second = load_checkpoint(stopped / "checkpoints" / "last.pt")
    assert all(torch.equal(value, second["model"][name]) for name, value in first["model"].items())
    assert json.loads((stopped / "run.json").read_text())["started_from"]["run"] == str(old)


def test_other_targets_are_reached_from_the_old_masks(old: Path, tmp_path: Path) -> None:
    """A sparser run prunes what it began with; a denser one grows out of it; nothing that stays moves for no reason."""
    before = load_run(old)
    sparser = load_run(trained(old, tmp_path / "sparser", "--epochs", "1", "--sparsity", "0.9", "--method", "static"))
    denser = load_run(trained(old, tmp_path / "denser", "--epochs", "1", "--sparsity", "0.6", "--method", "static"))
    for name, mask in before.masks.items():
        assert not (sparser.masks[name] & ~mask).any()
        assert not (mask & ~denser.masks[name]).any()
    assert all(layer["sparsity"] == pytest.approx(0.9, abs=0.02) for layer in sparser.layers)
    assert all(layer["sparsity"] == pytest.approx(0.6, abs=0.02) for layer in denser.layers)
    dense = load_run(trained(old, tmp_path / "dense", "--epochs", "0", "--method", "dense"))
    assert not dense.masks


def test_new_images_are_normalised_as_the_weights_know_them(old: Path, tmp_path: Path) -> None:
    """The mean of other images is theirs; the weights were trained with the old one, and it stays after a resume."""
    with np.load(Path(__file__).parents[3] / "mest" / "data" / "digits.npz") as file:
        names = file["class_names"] if "class_names" in file.files else np.arange(10).astype(str)
        np.savez(
            tmp_path / "dark.npz", images=file["images"][:300] // 3, labels=file["labels"][:300], class_names=names
        )
    out = trained(old, tmp_path / "new", "--data", str(tmp_path / "dark.npz"), "--epochs", "1")
    wanted = json.loads((old / "run.json").read_text())["preprocess"]
    assert json.loads((out / "run.json").read_text())["preprocess"] == wanted
    assert main(["train", "--resume", "--out", str(out), "--device", "cpu"]) == 0
    assert json.loads((out / "run.json").read_text())["preprocess"] == wanted


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resume"], "--from begins a new run and --resume continues one"),
        (["--model", "resnet20"], "--model resnet20, it has digits"),
        (["--scheme", "irregular", "--epochs", "0"], None),
        (["--scheme", "block:8", "--epochs", "0"], "not made of whole units of scheme block:8"),
        (["--image-size", "9"], "images of 1x9x9, it takes 1x8x8"),
    ],
)
def test_what_cannot_begin_with_a_run_is_one_line(
    old: Path, tmp_path: Path, capsys, words: list[str], message: str | None
) -> None:
    """Another architecture or another shape of zeros is refused before anything is written; irregular takes all."""
    out = tmp_path / "new"
    code = main(["train", "--from", str(old), "--device", "cpu", "--out", str(out), *words])
    printed = capsys.readouterr().err
    assert code == (0 if message is None else 2)
    assert message is None or message in printed
    assert out.exists() == (message is None)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys) -> None:
    """The one line says what makes a run."""
    assert main(["train", "--from", str(tmp_path), "--out", str(tmp_path / "new")]) == 2
    assert "no run (run.json is missing)" in capsys.readouterr().err
