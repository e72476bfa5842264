"""The options of optimizer, learning rate and loss, brought together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mest.train.config import OptimizerConfig
from mest.train.problems import Problems

# The scripts' WARMUP variable.
WARMUP_EPOCHS = 8


def optimizer_of(values: Mapping[str, Any], epochs: int, problems: Problems) -> OptimizerConfig:
    """Return how weights move, from parsed options; what cannot act or contradicts itself is noted in `problems`."""
    kind = values.get("optimizer", "sgd")
    schedule = values.get("lr-scheduler", "cosine")
    needs = {
        **dict.fromkeys(("momentum", "nesterov"), (kind == "sgd", "--optimizer sgd")),
        "min-lr": (schedule == "cosine", "--lr-scheduler cosine"),
        **dict.fromkeys(("lr-milestones", "lr-gamma"), (schedule == "step", "--lr-scheduler step")),
        "alpha": (values.get("mixup", False), "--mixup"),
        "warmup-lr": (bool(_warmup(values, epochs, Problems())), "--warmup"),
    }
    for key, (met, wanted) in needs.items():
        if key in values and not met:
            problems.add(f"--{key} does nothing without {wanted}")
    lr = values.get("lr", 0.1 if kind == "sgd" else 1e-3)
    min_lr = values.get("min-lr", min(4e-8, lr))
    if min_lr > lr:
        problems.add(f"--min-lr {min_lr:g}: must not exceed --lr {lr:g}")
    milestones = values.get("lr-milestones", tuple(sorted({max(1, round(m * epochs / 160)) for m in (80, 120)})))
    if "lr-milestones" in values and list(milestones) != sorted(set(milestones)):
        problems.add(f"--lr-milestones {'-'.join(map(str, milestones))}: epochs must rise")
    warmup = _warmup(values, epochs, problems)
    if warmup and warmup >= epochs:
        problems.add(f"--warmup {warmup}: must be below --epochs {epochs}")
    batch_size, accumulate = values.get("batch-size", 64), values.get("accumulate", 1)
    if batch_size % accumulate:
        problems.add(f"--accumulate {accumulate}: must divide --batch-size {batch_size}")
    if values.get("nesterov") and values.get("momentum") == 0:
        problems.add("--nesterov needs a --momentum above 0")
    smoothing = values.get("label-smoothing", 0.1 if values.get("smooth") else 0.0)
    if values.get("smooth") is False and smoothing:
        problems.add(f"--label-smoothing {smoothing:g} contradicts --smooth false")
    return OptimizerConfig(
        kind=kind,
        lr=lr,
        momentum=values.get("momentum", 0.9) if kind == "sgd" else 0.0,
        nesterov=values.get("nesterov", False),
        weight_decay=values.get("weight-decay", 1e-4),
        schedule=schedule,
        min_lr=min_lr,
        milestones=milestones,
        gamma=values.get("lr-gamma", 0.1),
        warmup_epochs=warmup,
        warmup_lr=values.get("warmup-lr", 1e-4),
        label_smoothing=smoothing,
        mixup_alpha=values.get("alpha", 0.3) if values.get("mixup") else 0.0,
        batch_size=batch_size,
        accumulate=accumulate,
    )


def _warmup(values: Mapping[str, Any], epochs: int, problems: Problems) -> int:
    """Epochs of warm-up: `--warmup 8`, a share of `epochs` (`0.05`), `--warmup` and `--warmup-epochs 8`, or either."""
    by_itself, given = values.get("warmup-epochs"), values.get("warmup")
    if given in (None, "true"):
        return int(by_itself if by_itself is not None else WARMUP_EPOCHS if given else 0)
    if given == "false":
        if by_itself:
            problems.add(f"--warmup-epochs {by_itself} contradicts --warmup false")
        return 0
    warmup = _epochs(str(given), epochs)
    if warmup is None:
        problems.add(f"--warmup {given}: allowed are whole numbers of epochs, or a share of the run below 1")
        return 0
    if by_itself is not None and by_itself != warmup:
        problems.add(f"--warmup {given} contradicts --warmup-epochs {by_itself}")
    return warmup


def _epochs(given: str, epochs: int) -> int | None:
    """A whole number of epochs, or a share of them; None of anything else."""
    if given.isdigit():
        return int(given)
    try:
        share = float(given)
    except ValueError:
        return None
    return max(1, round(share * epochs)) if 0 < share < 1 else None
