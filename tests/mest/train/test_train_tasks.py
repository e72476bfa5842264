"""Training for other tasks than one class of many: what the mean is taken over, what is best, what is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mest.data import DataSpec
from mest.errors import InputError
from mest.tasks.registry import TASKS
from mest.train.config import Execution, OptimizerConfig, SparseConfig, TrainConfig
from mest.train.run import load_run
from mest.train.session import Best
from mest.train.trainer import train

NETS = """
from torch import nn

def pixels(num_classes, in_channels):
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, num_classes, 1),
    )
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch) -> TrainConfig:
    """Segmentation of images whose masks have no class in ever more of their rows."""
    (tmp_path / "task_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(str(tmp_path))
    images = np.random.default_rng(0).integers(0, 256, (30, 6, 5), np.uint8)
    masks = (images > 127).astype(np.uint8)
    for number in range(30):
        masks[number, : number % 6] = 255
    np.savez(tmp_path / "d.npz", images=images, masks=masks)
    return TrainConfig(
        model="task_nets:pixels",
        data=DataSpec(f"npz:{tmp_path / 'd.npz'}", task=TASKS["segmentation"]),
        epochs=2,
        sparse=SparseConfig(sparsity=0.5),
        optimizer=OptimizerConfig(lr=0.05, batch_size=6, momentum=0.0),
    )


def test_parts_of_a_batch_are_weighed_by_their_pixels(config: TrainConfig, tmp_path: Path) -> None:
    """In three backward passes, whose parts have other numbers of pixels with a class, as in one."""
    found = []
    for accumulate in (1, 3):
        asked = replace(config, optimizer=replace(config.optimizer, accumulate=accumulate))
        train(asked, Execution(tmp_path / f"run{accumulate}"))
        found.append(load_run(tmp_path / f"run{accumulate}", "last").model.state_dict())
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-4, atol=1e-6)


def test_what_a_run_says_of_its_task(config: TrainConfig, tmp_path: Path) -> None:
    """Summary, metrics and run.json name the metric."""
    summary = train(config, Execution(tmp_path / "run")).summary
    assert summary is not None
    assert (summary["task"], summary["metric_name"]) == ("segmentation", "mean_iou")
    assert summary["metrics"]["mean_iou"] == summary["metric"]
    assert not any("accuracy" in name for name in summary)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[0].keys() >= {"train_metric", "validation_metric"}
    assert "train_metric" in (tmp_path / "run" / "metrics.csv").read_text().splitlines()[0]
    assert load_run(tmp_path / "run").spec.task is TASKS["segmentation"]


def test_a_run_of_another_task_is_not_continued(config: TrainConfig, tmp_path: Path) -> None:
    """Whatever is said of the task, the checkpoint knows what it was trained for."""
    train(replace(config, epochs=1), Execution(tmp_path / "run"))
    with np.load(tmp_path / "d.npz") as file:
        np.savez(tmp_path / "d.npz", labels=np.arange(30) % 2, images=file["images"])
    other = replace(config, epochs=1, model="digits", data=DataSpec(config.data.name))
    resumed = Execution(tmp_path / "run", resume=tmp_path / "run" / "checkpoints" / "last.pt")
    with pytest.raises(InputError, match="task was segmentation and is now classification"):
        train(other, resumed)


def test_lower_error_is_the_better_epoch() -> None:
    """Of errors the smallest, of shares the largest; of equal ones the lower loss."""
    best = Best(0, 0.5, 1.0)
    assert best.beaten_by(0.4, 2.0, TASKS["regression"].metric)
    assert not best.beaten_by(0.6, 0.5, TASKS["regression"].metric)
    assert best.beaten_by(0.6, 2.0, TASKS["multilabel"].metric)
    assert best.beaten_by(0.5, 0.5, TASKS["regression"].metric)


@pytest.mark.parametrize(
    ("task", "model", "said"),
    [
        ("regression", "task_nets:pixels", r"expected \(1, outputs\) numbers"),
        ("reconstruction", "digits", "the shape of its input"),
        ("multilabel", "task_nets:pixels", r"expected \(1, classes\) logits"),
    ],
)
def test_a_model_of_another_shape_is_refused(config: TrainConfig, task: str, model: str, said: str, tmp_path) -> None:
    """Before anything is written, with the shape that the task needs."""
    images = np.zeros((10, 6, 5), np.uint8)
    targets = {"labels": np.zeros((10, 2), np.uint8), "targets": np.zeros((10, 2), np.float32)}
    np.savez(tmp_path / "e.npz", images=images, **targets)
    data = DataSpec(f"npz:{tmp_path / 'e.npz'}", task=TASKS[task])
    with pytest.raises(InputError, match=said):
        train(replace(config, data=data, model=model), Execution(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
