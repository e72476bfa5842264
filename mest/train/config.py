"""What a run is asked to do, as frozen values. Nothing here has defaults of its own beside the paper's recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mest.data import DataSpec
from mest.log import LogSpec
from mest.tasks.registry import CLASSIFICATION


@dataclass(frozen=True)
class SparseConfig:
    """What the zeros look like, how many there are and when they move. `method` "dense" has none."""

    method: str = "em"
    scheme: str = "irregular"
    sparsity: float = 0.9
    distribution: str = "uniform"
    profile: str | None = None
    prune_to: tuple[float, ...] | None = None
    grow_to: tuple[float, ...] | None = None
    decay_epochs: tuple[int, ...] | None = None
    update_every_epochs: int = 5
    gradient_weight: float | None = None  # the λ of the score; None is the package's default
    score: str | None = None  # None is what the method prescribes, as for growth
    growth: str | None = None


@dataclass(frozen=True)
class OptimizerConfig:
    """How weights move: the optimizer, its rate over the epochs, and what the loss is."""

    kind: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    schedule: str = "cosine"
    min_lr: float = 4e-8
    milestones: tuple[int, ...] = (80, 120)
    gamma: float = 0.1
    warmup_epochs: int = 0
    warmup_lr: float = 1e-4
    label_smoothing: float = 0.0
    mixup_alpha: float = 0.0
    batch_size: int = 64
    accumulate: int = 1


@dataclass(frozen=True)
class RemovalConfig:
    """Which training samples go, in the words of `mest.ranking.removal.parse_removal`; `track` keeps counts anyhow."""

    remove_n: str = ""
    remove_data_epoch: str = ""
    keep_lowest: int = 0
    restore_every_epochs: int = 0
    sorting_file: str | None = None
    ranking_unchecked: bool = False
    track: bool = False


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a run's result. Two runs with equal configs on one machine give equal weights."""

    model: str
    data: DataSpec
    validation_fraction: float = 0.1
    epochs: int = 160
    seed: int = 0
    amp: bool = False
    sparse: SparseConfig = field(default_factory=SparseConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    removal: RemovalConfig = field(default_factory=RemovalConfig)

    def as_dict(self) -> dict[str, Any]:
        """The config as JSON holds it; `flatten` of two such dictionaries tells where runs differ."""
        plain = asdict(self)
        # Where the images lie decides nothing; which they are is checked by their checksum.
        kind = self.data.name.partition(":")[0]
        plain["data"] = {"kind": kind, "image_size": self.data.image_size, "augment": self.data.augment}
        if self.data.task is not CLASSIFICATION:
            plain["task"] = self.data.task.name
        plain["removal"]["sorting_file"] = self.removal.sorting_file is not None  # likewise
        return dict(_listed(plain))


@dataclass(frozen=True)
class Execution:
    """Where and with what a run is carried out. None of it changes the result on a CPU."""

    out: Path
    device: str = "auto"
    workers: int = 0
    threads: int = 0
    resume: Path | None = None
    start: Path | None = None  # the run whose weights and masks this new one begins with
    eval_batch_size: int = 256
    remark: str | None = None
    write_ranking: Path | None = None
    log_file: Path | None = None
    log: LogSpec = field(default_factory=LogSpec)  # whom else to tell of every epoch


def _listed(value: Any) -> Any:
    """Tuples as lists, so that a config equals what JSON gives back."""
    if isinstance(value, dict):
        return {key: _listed(inner) for key, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [_listed(inner) for inner in value]
    return value


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return `{"optimizer.lr": 0.1, ...}` of a nested config."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
