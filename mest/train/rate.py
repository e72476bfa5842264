"""The learning rate of an epoch: a function of the epoch alone, so nothing of it needs saving."""

from __future__ import annotations

import math

from mest.train.config import OptimizerConfig


def learning_rate(config: OptimizerConfig, epoch: int, epochs: int) -> float:
    """Return the rate for `epoch` of `epochs`: linear warm-up, then cosine, linear to 0, steps or a constant.

    Cosine is min + (max - min)·(1 + cos(π·t/T)) / 2 with t counted from the end of the warm-up, as published.
    """
    if epoch < config.warmup_epochs:
        return config.warmup_lr + (config.lr - config.warmup_lr) * epoch / config.warmup_epochs
    passed, whole = epoch - config.warmup_epochs, epochs - config.warmup_epochs
    if config.schedule == "linear":
        return config.lr * (1 - passed / whole)
    if config.schedule == "cosine":
        return config.min_lr + (config.lr - config.min_lr) * (1 + math.cos(math.pi * passed / whole)) / 2
    if config.schedule == "step":
        return config.lr * config.gamma ** sum(epoch >= milestone for milestone in config.milestones)
    return config.lr
