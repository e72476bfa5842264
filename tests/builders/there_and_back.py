"""A model that a board trains for a few steps and that takes back what the board learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

import edge
import export


def check_what_comes_back(folder: Path, engine: str, model: nn.Module, sparsifier: object, images: np.ndarray) -> None:
    """Train the artifact in `folder` by an engine, and assert that the model then answers as the board does.

    Every parameter moved, and has PyTorch's shape.
    """
    labels = np.arange(len(images)) % 5
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    with edge.load(folder, engine=engine) as board:
        for _ in range(3):
            board.train_step(images, labels, 0.1)
        logits = board.predict(images)
        board.save(folder.with_name("state"))
    export.restore_state(folder.with_name("state"), model, sparsifier)
    assert all(not torch.equal(value, before[name]) for name, value in model.named_parameters())
    with torch.no_grad():
        found = model.eval()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(found, logits, rtol=1e-4, atol=1e-4)
