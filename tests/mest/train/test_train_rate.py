"""The learning rate of each epoch."""

from __future__ import annotations

import pytest
import torch

from mest.train.config import OptimizerConfig
from mest.train.rate import learning_rate


def test_cosine_is_torch_s_own() -> None:
    """The published scheduler, stepped once an epoch, as the referee."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=160, eta_min=4e-8)
    for epoch in range(160):
        assert learning_rate(OptimizerConfig(), epoch, 160) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-6)
        optimizer.step()
        scheduler.step()


def test_steps_warmup_and_constant_by_eye() -> None:
    """Two milestones, four epochs of warm-up to the full rate, and no change at all."""
    step = OptimizerConfig(lr=1.0, schedule="step", milestones=(2, 3), gamma=0.5)
    assert [learning_rate(step, epoch, 5) for epoch in range(5)] == [1.0, 1.0, 0.5, 0.25, 0.25]
    warm = OptimizerConfig(lr=1.0, schedule="constant", warmup_epochs=4, warmup_lr=0.2)
    assert [round(learning_rate(warm, epoch, 6), 6) for epoch in range(6)] == [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    cosine = OptimizerConfig(lr=1.0, min_lr=0.0, warmup_epochs=2, warmup_lr=0.5)
    assert [round(learning_rate(cosine, epoch, 6), 6) for epoch in range(2, 6)] == [1.0, 0.853553, 0.5, 0.146447]
