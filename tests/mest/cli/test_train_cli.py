"""`mest train` as a user meets it: one JSON object, one line for each mistake, signals, several processes."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mest.cli import main
from mest.train.checkpoint import load_checkpoint
from mest.train.run import load_run

ROOT = Path(__file__).parents[3]
BASE = ["train", "--data", "digits", "--model", "digits", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _signals_and_threads():
    """The command line installs handlers: give the old ones back. Tensors this small want one thread."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    for number, handler in before.items():
        signal.signal(number, handler)


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def test_json_is_one_object_with_what_was_promised(tmp_path: Path, capsys) -> None:
    """run, epochs, accuracy, sparsity and peak bytes by method; standard error has a line an epoch in a pipe."""
    out = tmp_path / "r"
    assert main([*BASE, "--epochs", "1", "--scheme", "block", "--method", "ems", "--out", str(out), "--json"]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert (result["run"], result["epochs"]) == (str(out), 1)
    assert 0 <= result["accuracy"] <= 1
    assert result["sparsity"] == pytest.approx(0.9, abs=0.001)
    assert result["peak_bytes"]["em"] < result["peak_bytes"]["ems"] < result["peak_bytes"]["dense"]
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("epoch 0: loss ")


def test_text_for_a_person_and_a_recipe(tmp_path: Path, capsys) -> None:
    """Options of a recipe apply, the command line wins, the last line says how it went."""
    recipe = tmp_path / "r.yaml"
    recipe.write_text("model: digits\ndata: digits\nepochs: 7\nscheme: channel\n")
    out = tmp_path / "run"
    assert main(["train", "--recipe", str(recipe), "--epochs", "1", "--save-model", str(out), "--device", "cpu"]) == 0
    assert "test accuracy" in capsys.readouterr().out
    description = json.loads((out / "run.json").read_text())
    assert (description["config"]["epochs"], description["config"]["sparse"]["scheme"]) == (1, "channel")


def refused(capsys, *words: str, code: int = 2) -> str:
    """The one line with which a command line is refused."""
    try:
        given = main(list(words))
    except SystemExit as usage:
        given = usage.code  # type: ignore[assignment]
    printed = capsys.readouterr()
    assert (given, printed.out) == (code, ""), printed
    assert printed.err.count("\n") == 1
    assert "Traceback" not in printed.err
    return printed.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scheme", "blok"], "did you mean 'block'"),
        (["--sparsity", "1.0"], "from 0 to below 1"),
        (["--profile", "profiles/resnet32_cifar/blk/resnet32_0.9.yaml"], "layer3.4.conv2.weight"),
        (["--lower-bound", "0.92-0.91-0.9", "--upper-bound", "0.9-0.9"], "phases"),
        (["--lower-bound", "0.92-0.9", "--upper-bound", "0.9-0.9", "--mask-update-decay-epoch", "1-2"], "phases"),
        (["--model", "digit"], "did you mean digits"),
        (["--data", "digit"], "did you mean digits"),
        (["--data", "npz:none.npz"], "no such file"),
        (["--method", "admm"], "known: em, ems, set"),
        (["--method", "dense", "--scheme", "block"], "does nothing with --method dense"),
        (["--resume", "none.pt"], "no such checkpoint"),
        (["--recipe", "none.yaml"], "none.yaml"),
        (["--device", "tpu"], "allowed are auto, cpu, cuda"),
        (["--epochs", "many"], "whole numbers"),
        (["--no-such-option", "1"], "--no-such-option"),
        (["--sorting-file", "r.pkl", "--remove-n", "5"], "r.pkl: no such file"),
        (["--remove-n", "5000", "--remove-data-epoch", "1"], "leaves nothing to train on"),
        (["--batch-size", "1"], "at least 2 in every batch"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(tmp_path: Path, capsys, words: list[str], message: str) -> None:
    """Exit code 2 with what was given and what is allowed; no run directory appears."""
    line = refused(capsys, *BASE, "--epochs", "3", "--out", str(tmp_path / "r"), *words)
    assert message in line
    assert not (tmp_path / "r").exists()


def test_ten_channels_do_not_divide_into_blocks_of_four(tmp_path: Path, capsys, monkeypatch) -> None:
    """Named by a profile it is an error with the layer's name; by --sparsity the layer stays dense and is listed."""
    (tmp_path / "net_of_ten.py").write_text(
        "from torch import nn\n"
        "def make(num_classes):\n"
        "    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 10, 3), nn.Conv2d(10, 12, 3), nn.Flatten(),\n"
        "                         nn.Linear(48, num_classes))\n"
    )
    (tmp_path / "p.yaml").write_text("prune_ratios:\n  1.weight: 0.9\n")
    monkeypatch.chdir(tmp_path)
    words = ["--data", "digits", "--model", "net_of_ten:make", "--scheme", "block", "--epochs", "1", "--device", "cpu"]
    line = refused(capsys, "train", *words, "--profile", "p.yaml", "--out", "r")
    assert "1.weight" in line
    assert "10 output channels" in line
    assert main(["train", *words, "--out", "r"]) == 0
    assert "10 output channels" in json.loads(Path("r/run.json").read_text())["dense_layers"]["1.weight"]


def test_bad_folders_are_named(tmp_path: Path, capsys) -> None:
    """A class alone, an image of zero bytes and one that is none, each with its path."""
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (8, 8), number).save(tmp_path / "data" / name / f"{number}.png")
    words = ["train", "--data", f"imagefolder:{tmp_path / 'data'}", "--out", str(tmp_path / "r")]
    file = tmp_path / "data" / "dog" / "2.png"
    file.write_bytes(b"")
    assert f"{file}: not a readable image (the file is empty)" in refused(capsys, *words)
    file.write_bytes(b"text")
    assert f"{file}: not a readable image" in refused(capsys, *words)
    for each in (tmp_path / "data" / "dog").iterdir():
        each.unlink()
    (tmp_path / "data" / "dog").rmdir()
    assert "1 class folder" in refused(capsys, *words)


def test_other_people_s_directories_are_left_alone(tmp_path: Path, capsys) -> None:
    """Neither a foreign directory nor an earlier run is written over."""
    (tmp_path / "thesis.tex").write_text("")
    assert "not empty and not a run" in refused(capsys, *BASE, "--out", str(tmp_path))
    assert main([*BASE, "--epochs", "1", "--out", str(tmp_path / "r")]) == 0
    capsys.readouterr()
    assert "holds a run already" in refused(capsys, *BASE, "--out", str(tmp_path / "r"))
    assert "which run?" in refused(capsys, *BASE, "--resume")


def test_a_damaged_or_foreign_checkpoint_is_exit_code_four(tmp_path: Path, capsys) -> None:
    """Cut off, or made by another program."""
    words = [*BASE, "--epochs", "1", "--out", str(tmp_path / "r")]
    assert main(words) == 0
    capsys.readouterr()
    last = tmp_path / "r" / "checkpoints" / "last.pt"
    last.write_bytes(last.read_bytes()[:5000])
    assert "not a readable checkpoint" in refused(capsys, *words, "--resume", code=4)
    torch.save({"state_dict": {}}, last)
    assert "not a checkpoint of mest" in refused(capsys, *words, "--resume", str(last), code=4)


def test_a_full_disk_is_one_line_and_the_checkpoint_before_stays(tmp_path: Path, capsys) -> None:
    """A limit on file sizes stands in for the disk: the first checkpoint fits, the one with momentum does not."""
    words = [*BASE, "--epochs", "2", "--out", str(tmp_path / "r")]
    last = tmp_path / "r" / "checkpoints" / "last.pt"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        line = refused(capsys, *words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "File too large" in line
    assert load_checkpoint(last)["epoch"] == 0
    assert main(["train", "--resume", "--out", str(tmp_path / "r"), "--device", "cpu"]) == 0


def test_a_signal_leaves_a_run_that_continues_without_repeating_options(tmp_path: Path, capsys) -> None:
    """SIGTERM in the middle: exit 143, the way to continue on standard error; resumed, it ends as if never stopped."""
    words = [*BASE, "--epochs", "12", "--method", "ems", "--sp-mask-update-freq", "1", "--sp-lmd", "0.5"]
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "mest", *words, "--out", tmp_path / "r"],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = tmp_path / "r" / "metrics.jsonl"
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and not (metrics.exists() and metrics.read_text()):
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 143, errors
    assert f"mest train --resume --out {tmp_path / 'r'}" in errors
    capsys.readouterr()
    assert main(["train", "--resume", "--out", str(tmp_path / "r"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == 12
    whole, resumed = (load_run(tmp_path / name, "last").model.state_dict() for name in ("whole", "r"))
    assert all(torch.equal(weight, resumed[name]) for name, weight in whole.items())


def test_two_processes_train_one_run(tmp_path: Path) -> None:
    """Under torchrun both share every batch, count all presentations, remove the same samples; one writes."""
    out, ranking = tmp_path / "r", tmp_path / "ranking.npz"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "mest"]
    words = ["--epochs", "3", "--method", "ems", "--sp-mask-update-freq", "1", "--write-ranking", str(ranking)]
    words += ["--remove-n", "100", "--remove-data-epoch", "1", "--restore-every", "1"]
    with subprocess.Popen(
        [*command, *BASE, *words, "--out", out, "--json"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as launcher:
        try:
            printed, errors = launcher.communicate(timeout=600)  # far above what it takes: against a hang alone
        except subprocess.TimeoutExpired:
            launcher.terminate()  # not killed: it ends its workers, which are in sessions of their own
            raise
    assert launcher.returncode == 0, errors[-3000:]
    assert sum(line.startswith("epoch ") for line in errors.splitlines()) == 3
    summary = json.loads(printed)
    loaded = load_run(out)
    assert all(not loaded.model.get_parameter(name)[~mask].any() for name, mask in loaded.masks.items())
    tracker = load_checkpoint(out / "checkpoints" / "last.pt")["samples"]["tracker"]
    # Once in each of three epochs, or in the first and at the look; the held-out ones never.
    counts = np.bincount(tracker["presented"].numpy(), minlength=4).tolist()
    assert counts[:2] == [140, 0]
    assert counts[2] + counts[3] == 1298
    assert summary["samples"]["trained_presentations"] == 1298 + 1198 + summary["samples"]["active"]
    assert ranking.is_file()
