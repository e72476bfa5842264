"""A new run that begins with the weights and masks of another, one that came back from a board too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from mest.data import DataSet
from mest.data.preprocess import Preprocess
from mest.errors import DamagedError, InputError
from mest.models import ModelSpec
from mest.train.run import load_run, read_run

#: options that speak of the old run's length, samples and files, or of the machine that it ran on
OF_ONE_RUN = frozenset(
    {
        "mask-update-decay-epoch",
        "lr-milestones",
        "warmup",
        "warmup-epochs",
        "warmup-lr",
        "remark",
        "log",
        "log-filename",
    }
    | {"remove-n", "remove-data-epoch", "keep-lowest-n", "restore-every", "sorting-file", "ranking-unchecked"}
    | {"write-ranking", "input-dir", "output-dir", "output-name", "device", "no-cuda", "workers", "threads"}
)
#: which options of the old run an option of the new one takes the place of
REPLACED = {
    "profile": ("sparsity", "distribution", "lower-bound", "upper-bound"),
    "sparsity": ("profile", "lower-bound", "upper-bound"),
    "lower-bound": ("sparsity", "upper-bound"),
    "upper-bound": ("sparsity", "lower-bound"),
    "method": ("lower-bound", "upper-bound", "sp-lmd", "score", "growth", "sp-mask-update-freq"),
    "score": ("sp-lmd",),
    "sp-lmd": ("score",),
    "optimizer": ("lr", "momentum", "nesterov", "weight-decay", "min-lr"),
    "lr": ("min-lr",),
    "lr-scheduler": ("min-lr", "lr-gamma"),
    "data": ("data-dir", "download"),
    "augment": ("data-augmentation",),
    "arch": ("model",),
    "model": ("arch", "depth"),
    "smooth": ("label-smoothing",),
    "mixup": ("alpha",),
}
OF_SPARSE_METHODS = {"scheme", "sparsity", "distribution", "profile", "sp-retrain", "sp-prune-before-retrain"}


@dataclass(frozen=True)
class Origin:
    """The run that another one began with, and how images were normalised for its weights; `which`: its checkpoint."""

    run: str
    which: str
    epoch: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """The form that a checkpoint and run.json hold."""
        return {**vars(self), "mean": list(self.mean), "std": list(self.std)}

    @staticmethod
    def from_dict(given: Mapping[str, Any] | None) -> Origin | None:
        """Return what `as_dict` wrote, None for a run that began with nothing."""
        if given is None:
            return None
        return Origin(given["run"], given["which"], int(given["epoch"]), tuple(given["mean"]), tuple(given["std"]))

    def prepared(self, data: DataSet) -> DataSet:
        """The data, normalised as the weights know it, whatever the new images' own mean and deviation are."""
        return replace(data, preprocess=replace(data.preprocess, mean=self.mean, std=self.std))


@dataclass(frozen=True, eq=False)
class Start:
    """What a new run begins with: weights as a state dict, masks by weight name, and what they are of.

    `preprocess` leads from images of any size to the network's input, as it did for the old run.
    """

    origin: Origin
    preprocess: Preprocess
    weights: dict[str, Tensor]
    masks: dict[str, Tensor]
    spec: ModelSpec
    class_names: tuple[str, ...]

    def check(self, spec: ModelSpec, class_names: Sequence[str]) -> None:
        """Raise InputError, with everything, unless a run of this model and these classes can begin with it."""
        problems = []
        if spec.name != self.spec.name:
            problems.append(f"--model {spec.name}, it has {self.spec.name}")
        if spec.task is not self.spec.task:
            problems.append(f"--task {spec.task.name}, it was trained for {self.spec.task.name}")
        if spec.input != self.spec.input:
            given, wanted = ("x".join(map(str, shape)) for shape in (spec.input, self.spec.input))
            problems.append(f"images of {given}, it takes {wanted}")
        if tuple(class_names) != self.class_names:
            given, wanted = (
                f"{len(names)} classes ({', '.join(names[:3])}, ...)" for names in (class_names, self.class_names)
            )
            problems.append(f"{given}, it has {wanted}")
        if problems:
            raise InputError(f"--from {self.origin.run}: {'; '.join(problems)}; give what it was trained with")


def read_start(path: Path) -> Start:
    """Return what a new run begins with: the best checkpoint of the run at `path`.

    Raises InputError if it is no run or has no such checkpoint, DamagedError if a part is damaged.
    """
    run = load_run(path)
    prepared = Preprocess.from_dict(run.preprocess).leading_to(*run.spec.input[1:])
    origin = Origin(str(path.resolve()), run.which, run.epoch, prepared.mean, prepared.std)
    return Start(origin, prepared, run.model.state_dict(), run.masks, run.spec, tuple(run.class_names))


def inherited(path: Path, given: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the options that a run hands on to one that begins with it, and those that it does not hand on.

    What is `given` takes their place, and that of options that would contradict it.
    """
    options = read_run(path).get("options")
    if not isinstance(options, dict):
        raise DamagedError(f"{path / 'run.json'}: holds no options")
    replaced = {key for name in given for key in REPLACED.get(name, ())} - given.keys()
    if given.get("method") == "dense":
        replaced |= OF_SPARSE_METHODS - given.keys()
    handed_on = {key: str(value) for key, value in options.items() if key not in OF_ONE_RUN | replaced}
    return handed_on, sorted(options.keys() - handed_on.keys() - given.keys())
