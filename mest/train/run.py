"""The run directory: what training leaves behind and export reads.

`run.json` (this module), `checkpoints/last.pt` and `checkpoints/best.pt`, `metrics.jsonl`, `metrics.csv`,
`summary.json` and pictures. `run.json` is written before the first step and again with the result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mest.data.preprocess import ARRAY, Preprocess
from mest.durable import write_json
from mest.errors import DamagedError, InputError
from mest.models import ModelSpec, build_model
from mest.tasks.registry import CLASSIFICATION, TASKS
from mest.train.checkpoint import load_checkpoint
from mest.train.form import misfit

SCHEMA = "mest-run/1"
CHECKPOINTS = ("best", "last")
MAX_SIDE = 2**15  # pixels, or channels
MAX_NUMBERS = 2**24  # in a row of an array
FORM = {  # what is read of run.json, here and by export
    "config": {"optimizer": {"kind": str, "momentum": float, "nesterov": bool, "weight_decay": float,
                             "label_smoothing": float}},
    "options": {...: str},
    "model": {"name": str, "classes": int, "input": [int]},
    "data": {"checksum": str},
    "preprocess": {"mode": str, "resize": (int, [int], None), "crop": ([int], None), "interpolation": (str, None),
                   "mean": [float], "std": [float]},
    "class_names": [str],
    "layers": [{"name": str, "scheme": str, "target_sparsity": float}],
}  # fmt: skip
INFERENCE_FILES = ("inference.onnx", "inference.bin")  # of a run that a board's state became; export writes them
LOCK_FILE = "lock"  # held by the command that writes here; the board's harness has it by the same name


@dataclass(frozen=True)
class LoadedRun:
    """A finished or interrupted run. `model` has the checkpoint's weights and is in evaluation mode.

    `masks`: parameter name to bool tensor of the weight's shape. `preprocess`: as in run.json. `layers`: one dictionary
    per sparse layer with name, scheme, height (blocks alone), target_sparsity and sparsity.
    `checksum`: SHA-256 of the training data; `epoch`: how many epochs the checkpoint has trained.
    """

    path: Path
    model: nn.Module
    masks: dict[str, Tensor]
    config: dict[str, Any]
    spec: ModelSpec
    preprocess: dict[str, Any]
    class_names: list[str]
    layers: list[dict[str, Any]]
    checksum: str
    epoch: int
    which: str


def checkpoint_path(run: Path, which: str) -> Path:
    """Where a run keeps its `last` or `best` checkpoint."""
    return run / "checkpoints" / f"{which}.pt"


def read_run(path: Path) -> dict[str, Any]:
    """Return the content of run.json; raises InputError if `path` is no run, DamagedError if run.json is damaged."""
    file = path / "run.json"
    if not file.is_file():
        raise InputError(f"{path}: no run (run.json is missing); mest train --out {path} makes one")
    try:
        content = json.loads(file.read_text())
    except (ValueError, RecursionError) as failed:  # undecodable bytes are a ValueError
        raise DamagedError(f"{file}: not readable as JSON ({failed})") from failed
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise DamagedError(f"{file}: not a run of mest (schema {SCHEMA})")
    wrong = misfit(content, FORM, "")
    if wrong is not None:
        raise DamagedError(f"{file}: {wrong}")
    return content


def write_run(path: Path, content: Mapping[str, Any]) -> None:
    """Write run.json."""
    write_json(path / "run.json", {"schema": SCHEMA, **content})


def read_origin(path: Path) -> dict[str, Any]:
    """Return what run.json says of a board's state that the run began from; nothing for a run that began here."""
    content = read_run(path) if (path / "run.json").is_file() else {}
    return {"restored_from": content["restored_from"]} if "restored_from" in content else {}


def drop_inference(path: Path) -> list[str]:
    """Remove the inference.onnx of weights that are about to change; return the names of what was removed."""
    present = [name for name in INFERENCE_FILES if (path / name).is_file()]
    for name in present:
        (path / name).unlink()
    return present


def load_run(path: str | Path, which: str = "best") -> LoadedRun:
    """Return the run at `path` with the weights of its `best` or `last` checkpoint.

    Raises InputError if it is no run or has no such checkpoint, DamagedError if a part is damaged or does not fit the
    others.
    """
    path = Path(path)
    if which not in CHECKPOINTS:
        raise InputError(f"checkpoint {which!r}: allowed are {', '.join(CHECKPOINTS)}")
    content = read_run(path)
    file = checkpoint_path(path, which)
    if not file.is_file() and checkpoint_path(path, "last").is_file():
        raise InputError(f"{path}: has no {which} checkpoint yet; continue it with mest train --resume --out {path}")
    checkpoint = load_checkpoint(file)
    try:
        said = content["model"]
        task = TASKS[said.get("task", CLASSIFICATION.name)]
        spec = ModelSpec(said["name"], said["classes"], tuple(said["input"]), task)
        preprocess = Preprocess.from_dict(content["preprocess"]).as_dict()
        class_names = [str(name) for name in content["class_names"]]
        config, checksum = dict(content["config"]), str(content["data"]["checksum"])
        targets = {str(layer["name"]): dict(layer) for layer in content["layers"]}
        _check_image(preprocess, spec.input)
        epoch = int(checkpoint["epoch"])
        masks: dict[str, Tensor] = dict(checkpoint["masks"])
    except (KeyError, TypeError, ValueError) as wrong:
        raise DamagedError(f"{path / 'run.json'}: a part is missing or has another form ({wrong!r})") from wrong
    if checkpoint["config"] != config or len(class_names) != spec.classes or set(masks) != set(targets):
        raise DamagedError(f"{file}: belongs to another run than {path / 'run.json'}")
    model = build_model(spec)
    try:
        model.load_state_dict(checkpoint["model"])
    except RuntimeError as wrong:
        reason = str(wrong).splitlines()[0]
        raise DamagedError(f"{file}: its weights are not those of {spec.name} ({reason})") from wrong
    model.eval()
    layers = [
        {**layer, "nonzeros": int(masks[name].sum()), "sparsity": 1 - int(masks[name].sum()) / masks[name].numel()}
        for name, layer in targets.items()
    ]
    return LoadedRun(
        path, model, masks, config, spec, preprocess, class_names, layers, checksum, epoch, which
    )  # fmt: skip


def _check_image(preprocess: Mapping[str, Any], shape: tuple[int, ...]) -> None:
    """Raise ValueError where the preprocessing cannot lead to what a model takes."""
    sides = [side for part in (preprocess["resize"], preprocess["crop"]) if part is not None for side in _sides(part)]
    ranks, most = ((1, 2, 3), MAX_NUMBERS) if preprocess["mode"] == ARRAY else ((3,), MAX_SIDE)
    if len(shape) not in ranks or not all(0 < side <= most for side in (*shape, *sides)):
        raise ValueError(f"input {list(shape)}, resize {preprocess['resize']}, crop {preprocess['crop']}")
    mean, std = preprocess["mean"], preprocess["std"]
    if not len(mean) == len(std) == shape[0] or min(std) <= 0:
        raise ValueError(f"mean {mean} and std {std} for {shape[0]} channels")


def _sides(part: int | list[int]) -> list[int]:
    return part if isinstance(part, list) else [part]


def refuse_occupied(path: Path) -> None:
    """Raise InputError if a new run at `path` would write among other files, or over another run."""
    if path.exists() and not path.is_dir():
        raise InputError(f"--out {path}: is a file; give a directory")
    if path.is_dir() and any(inside.name != LOCK_FILE for inside in path.iterdir()):
        if (path / "run.json").is_file():
            raise InputError(f"--out {path}: holds a run already; add --resume to continue it, or give another place")
        raise InputError(f"--out {path}: not empty and not a run of mest; give a new or empty directory")
