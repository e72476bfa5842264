"""resnet32 on real photographs, in every scheme and both mutations. Set MEST_CIFAR_DIR to a folder of images per class.

MEST_CIFAR_DIR=cifar10-jpeg python -m pytest -m slow tests/mest/train/test_train_cifar.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mest.data import open_data
from mest.data.dataset import DataSpec
from mest.sparse.counts import kept_units
from mest.train.checkpoint import load_checkpoint
from mest.train.config import Execution
from mest.train.observer import Observer
from mest.train.process import Process
from mest.train.recipe import build_config
from mest.train.session import open_session
from mest.train.trainer import Trainer, train

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("MEST_CIFAR_DIR" not in os.environ, reason="MEST_CIFAR_DIR names no folder of CIFAR-10 images"),
]
IMAGES = int(os.environ.get("MEST_CIFAR_IMAGES", "2000"))
CPU = Process(torch.device("cpu"))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> str:
    """A few thousand training images as one npz file."""
    data = open_data(DataSpec(f"imagefolder:{os.environ['MEST_CIFAR_DIR']}"), threads=2)
    keep = np.linspace(0, len(data.train) - 1, IMAGES).astype(np.int64)
    path = tmp_path_factory.mktemp("photographs") / "few.npz"
    np.savez(path, images=data.train.pixels(keep), labels=data.train.labels[keep], class_names=data.class_names)
    return f"npz:{path}"


@pytest.mark.parametrize("scheme", ["irregular", "block", "pattern", "channel"])
@pytest.mark.parametrize("method", ["em", "ems"])
def test_resnet32_holds_its_phases_and_resumes(tmp_path: Path, photographs: str, scheme: str, method: str) -> None:
    """Counts and zeros at every step, the target at the end; a stop before a mutation with λ > 0 changes nothing."""
    options = {"data": photographs, "model": "resnet32", "scheme": scheme, "method": method, "epochs": "4"}
    options |= {"sp-mask-update-freq": "1", "sp-lmd": "0.5"}
    config = build_config(options)
    session = open_session(config, open_data(config.data), CPU)
    sparsifier = session.sparsifier

    def check(batches: Any, count: int, title: str) -> Iterator[Any]:
        for batch in batches:
            yield batch
            for name, target in sparsifier.targets.items():
                mask, weight = sparsifier.masks[name], session.model.get_parameter(name)
                sparsity = sparsifier.schedule.in_force(session.epoch, target.weight_sparsity)
                units = kept_units(target.scheme, tuple(mask.shape), sparsity)
                assert int(mask.sum()) == units * target.scheme.unit_weights(tuple(mask.shape))
                assert not weight[~mask].any()
                assert not session.optimizer.state[weight]["momentum_buffer"][~mask].any()

    Trainer(session, Execution(tmp_path / "whole", "cpu"), CPU, options, Observer(watch=check)).run()
    assert len(sparsifier.masks) == 30
    assert sparsifier.at_target
    assert all(layer.sparsity >= 0.9 for layer in sparsifier.layers())
    done: list[Any] = []
    train(
        config, Execution(tmp_path / "parts", "cpu"), options, Observer(lambda: len(done) > 1, epoch_done=done.append)
    )
    last = tmp_path / "parts" / "checkpoints" / "last.pt"
    assert load_checkpoint(last)["epoch"] == 2
    train(config, Execution(tmp_path / "parts", "cpu", resume=last), options)
    whole, parts = (load_checkpoint(tmp_path / name / "checkpoints" / "last.pt") for name in ("whole", "parts"))
    assert all(torch.equal(weight, parts["model"][name]) for name, weight in whole["model"].items())
