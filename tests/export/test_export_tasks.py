"""Every task but classification on its whole way: trained, exported, verified, fine-tuned on each engine, answered."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import edge
import export
from edge.handover.state import read_state
from edge.network import read_network
from edge.plan.search import Request
from edge.report.page import render
from edge.report.record import read_record
from edge.run.finetune import finetune
from edge.run.job import Job
from edge.run.settings import Settings
from export.artifact import export_artifact
from export.checks.check import check_artifact
from export.checks.observe import native_missing
from export.options import Options
from export.ort.files import missing
from export.source import source_of_run
from mest import cli

MODELS = """
import torch
from torch import nn

def vector(num_classes, in_channels):
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, num_classes),
    )

def pixels(num_classes, in_channels):
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, num_classes, 1),
    )
"""
MODEL = {"multilabel": "vector", "regression": "vector", "reconstruction": "pixels", "segmentation": "pixels"}
ENGINES = [name for name, reason in (("native", native_missing()), ("ort", missing())) if reason is None]


def write_data(path: Path, task: str) -> None:
    """Sixty 6x6 images whose targets can be seen in them."""
    images = np.random.default_rng(0).integers(0, 256, (60, 6, 6), np.uint8)
    images[::2, :3] //= 4
    masks = (images > 60).astype(np.uint8)
    masks[:, 0] = 255
    targets = {
        "multilabel": {"labels": np.stack([images[:, :3].mean((1, 2)) < 64, images[:, 3:].mean((1, 2)) > 127], 1)},
        "regression": {"targets": (images.mean((1, 2)) / 255)[:, None].astype(np.float32)},
        "reconstruction": {},
        "segmentation": {"masks": masks},
    }[task]
    as_stored = {name: array.astype(np.uint8) if array.dtype == bool else array for name, array in targets.items()}
    np.savez(path, images=images, **as_stored)


@pytest.fixture(scope="module", params=list(MODEL))
def made(request, tmp_path_factory) -> tuple[str, Path]:
    """The task, and a folder with its data, run and artifact."""
    folder, task = tmp_path_factory.mktemp(request.param), request.param
    (folder / f"nets_{task}.py").write_text(MODELS)
    write_data(folder / "d.npz", task)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        model = f"nets_{task}:{MODEL[task]}"
        line = ["train", "--task", task, "--data", f"npz:{folder / 'd.npz'}", "--model", model, "--epochs", "2"]
        assert cli.main([*line, "--sparsity", "0.5", "--lr", "0.05", "--out", str(folder / "run"), "--quiet"]) == 0
        export_artifact(source_of_run(folder / "run"), folder / "artifact", Options(measure=False))
    return task, folder


def said(capsys, *line: object) -> dict:
    """What a command prints as JSON; it must succeed."""
    capsys.readouterr()
    assert cli.main([*map(str, line), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def job(made: tuple[str, Path], state: Path, engine: str, **given) -> Job:
    """Fine-tuning in pieces of three samples, the last of which is smaller."""
    _, folder = made
    request = Request(batch_size=8, micro_batch=3)
    settings = Settings(epochs=2, hold_out=0.4, patience=2, augment="crop-flip", learning_rate=0.02)
    return Job(folder / "artifact", str(folder / "d.npz"), state, settings, lambda _: request, engine, **given)


def test_artifact_is_whole(made) -> None:
    """Every engine that is here agrees with the stored answers and with the referee; the network says its task."""
    task, folder = made
    assert read_network(folder / "artifact").task.name == task
    assert json.loads((folder / "artifact" / "network.json").read_text())["task"] == task
    assert set(check_artifact(folder / "artifact")["agreement"]) >= {"reference", *ENGINES}
    assert json.loads((folder / "run" / "run.json").read_text())["config"]["task"] == task


@pytest.mark.parametrize("engine", ENGINES)
def test_fine_tuning_eval_and_predict(made, engine: str, tmp_path: Path, capsys) -> None:
    """Both engines improve the metric or keep the best epoch; its names are the task's; nothing is called accuracy."""
    task, folder = made
    outcome = finetune(job(made, tmp_path / "state", engine)).to_json()
    assert outcome["task"] == task
    assert not any("accuracy" in name for name in outcome)
    assert outcome["metrics_after"][outcome["metric_name"]] == outcome["metric_after"]
    assert outcome["zeros_kept"]
    judged = said(capsys, "eval", tmp_path / "state", "--data", folder / "d.npz")
    assert judged["metrics"].keys() == outcome["metrics_after"].keys()
    image = tmp_path / "a.png"
    Image.fromarray(np.load(folder / "d.npz")["images"][0]).save(image)
    (answer,) = said(capsys, "predict", tmp_path / "state", image)["predictions"]
    key = {"multilabel": "labels", "regression": "values", "reconstruction": "error", "segmentation": "classes"}[task]
    assert key in answer
    record = read_record(tmp_path / "state" / "record.json")
    assert record.training is not None
    assert record.training.metric.label in render(record)


def test_run_and_artifact_are_judged_alike(made, capsys) -> None:
    """PyTorch and an engine of the board, on the same test data."""
    _, folder = made
    run, board = (said(capsys, "eval", folder / what, "--data", folder / "d.npz") for what in ("run", "artifact"))
    assert run["metric_name"] == board["metric_name"]
    assert run["metrics"] == pytest.approx(board["metrics"], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stopped_run_goes_on_to_the_same_weights(made, engine: str, tmp_path: Path) -> None:
    """Stopped in its first epoch, as without a stop."""
    if made[0] != "segmentation":
        pytest.skip(
            "one task has all that could differ: masks that are moved with their images, pieces of unequal weight"
        )
    finetune(job(made, tmp_path / "straight", engine))
    steps = iter(range(100))
    assert finetune(job(made, tmp_path / "state", engine), stop=lambda: next(steps) == 5).stopped
    assert not finetune(job(made, tmp_path / "state", engine, resume=True)).stopped
    straight, stopped = (read_state(tmp_path / name).tensors for name in ("straight", "state"))
    assert straight.keys() == stopped.keys()
    assert all(np.array_equal(straight[name], stopped[name]) for name in straight)


def test_options_of_classes_are_refused(made, tmp_path: Path, capsys) -> None:
    """In one line with the task's name, by each command."""
    task, folder = made
    tune = ["finetune", str(folder / "artifact"), "--data", str(folder / "d.npz"), "--out", str(tmp_path / "s")]
    for given in (["--drop-after", "1"], ["--label-smoothing", "0.1", "--engine", "native"]):
        assert cli.main([*tune, *given]) == 2
        assert f"the task is {task}; leave it out" in capsys.readouterr().err
    assert cli.main(["compile", str(folder / "artifact"), "--out", str(tmp_path / "a.mest")]) == 2
    assert f"is trained for {task}, and a compiled plan for one class of many alone" in capsys.readouterr().err
    train = ["train", "--task", task, "--data", f"npz:{folder / 'd.npz'}", "--out", str(tmp_path / "r")]
    for option in ("--mixup", "--label-smoothing=0.1", "--remove-n=5", "--write-ranking=r.npz"):
        assert cli.main([*train, option]) == 2
        assert f"is of classification, and the task is {task}" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["reconstruction", "segmentation"])
def test_answers_that_are_windows(task: str, tmp_path: Path) -> None:
    """What a model says of each position of a window is an image of height 1 in the network, and a window elsewhere."""
    model = nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv1d(4, 2, 3, padding=1))
    export.export_model(
        model, tmp_path / "artifact", example_input=(2, 12), preprocess={"mean": 0, "std": 1}, task=task
    )
    assert read_network(tmp_path / "artifact").output == (2, 1, 12)
    for engine in ENGINES:
        with edge.load(tmp_path / "artifact", engine=engine) as board:
            windows = np.random.default_rng(0).normal(size=(3, 2, 12)).astype(np.float32)
            targets = None if task == "reconstruction" else np.zeros((3, 1, 12), np.uint8)
            before = board.train_step(windows, targets, 0.1).loss
            assert board.train_step(windows, targets, 0.1).loss < before
            with torch.no_grad():
                wanted = model(torch.from_numpy(windows)).shape
            assert board.predict(windows).reshape(wanted).shape == (3, 2, 12)
