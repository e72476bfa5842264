"""The way back: what a board has trained becomes a run directory that training resumes, and an inference.onnx."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from edge.artifact import Artifact, open_artifact
from edge.formats import decode, kept_mask
from edge.parameter import Parameter
from edge.state import State, read_state
from export.directory import whole_directory
from export.graph import set_tensor
from export.inference import MODEL, write_inference
from export.rebuild import from_native, from_ort
from mest.durable import write_json
from mest.errors import DamagedError, InputError
from mest.train.checkpoint import load_checkpoint, save_checkpoint
from mest.train.run import checkpoint_path, read_run

OWN_FILES = ("metrics.jsonl", "metrics.csv")  # the run's history; its summary and pictures speak of other weights


def restore_run(state: Path, out: Path, original: Path | None = None) -> dict[str, Any]:
    """Write a run directory with a state's weights and masks, and inference.onnx beside them; return what was done.

    Everything that a board does not have (configuration, position, filters that channel export removed) comes from
    the run that was exported: `original`, or where the artifact says it was. Optimizer state starts from zero. Raises
    InputError if that run is not there or is another one, DamagedError for a damaged state, artifact or run.
    """
    artifact, saved = open_artifact(state), read_state(state)
    parameters = state_parameters(artifact, saved)
    run = _original(artifact, original)
    with whole_directory(out) as folder:
        (folder / "checkpoints").mkdir()
        restored = 0
        for which in ("best", "last"):
            if checkpoint_path(run, which).is_file():
                content = load_checkpoint(checkpoint_path(run, which))
                restored = _overwrite(content, parameters, artifact.manifest.run["kept"])
                save_checkpoint(checkpoint_path(folder, which), content)
        description = {**read_run(run), "result": None, "restored_from": _origin(saved)}
        write_json(folder / "run.json", description)
        for name in OWN_FILES:
            if (run / name).is_file():
                shutil.copy(run / name, folder / name)
        _write_inference(artifact, parameters, folder)
    return {"run": str(out), "restored": restored, "original": str(run), **_origin(saved)}


def state_parameters(artifact: Artifact, saved: State) -> dict[str, Parameter]:
    """The network's parameters as a state holds them, whichever engine wrote it."""
    engine = saved.facts.get("engine")
    if engine == "native":
        return from_native(artifact.network, saved.tensors)
    if engine == "ort":
        return from_ort(artifact.network, artifact.manifest.ort["parameters"], saved.tensors)
    raise DamagedError(f"state: was written by engine {engine!r}; known are native and ort")


def _original(artifact: Artifact, given: Path | None) -> Path:
    said = artifact.manifest.run
    path = given or Path(str(said.get("path", "")))
    if not (path / "run.json").is_file():
        raise InputError(f"{path}: the run that {artifact.path} was exported from is not there; give it as --original")
    content = read_run(path)
    same = content["model"] == said["model"] and content["data"]["checksum"] == said["data_checksum"]
    if not same:
        raise InputError(f"{path}: is not the run that {artifact.path} was exported from; give that as --original")
    return path


def _overwrite(content: dict[str, Any], parameters: Mapping[str, Parameter], kept: Mapping[str, Any]) -> int:
    """Put a board's parameters into a checkpoint, in place; return how many there were."""
    model, masks, restored = content["model"], content["masks"], 0
    for name, parameter in parameters.items():
        if name not in model:
            continue  # a list of channels
        value, mask = _whole(model[name].numpy(), parameter, kept.get(name))
        model[name] = torch.from_numpy(value)
        if name in masks and mask is not None:
            masks[name] = torch.from_numpy(mask)
        restored += 1
    sparsifier = content["sparsifier"]
    if isinstance(sparsifier, dict) and "masks" in sparsifier:
        sparsifier["masks"] = {name: mask.clone() for name, mask in masks.items()}
        sparsifier["nonzeros"] = {name: int(model[name].count_nonzero()) for name in sparsifier["nonzeros"]}
        for name, gradient in sparsifier.get("gradients", {}).items():
            gradient.mul_(masks[name])
    content["optimizer"] = {**content["optimizer"], "state": {}}
    return restored


def _whole(
    before: np.ndarray, parameter: Parameter, kept: Mapping[str, Any] | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """A parameter in the shape that it was trained in, and its mask where the board could change it."""
    if kept is None:
        value = decode(parameter).astype(before.dtype).reshape(before.shape)
        return value, kept_mask(parameter).reshape(before.shape) if parameter.sparse else None
    whole, mask = before.copy(), None
    outputs = np.arange(before.shape[0]) if kept["outputs"] is None else np.array(kept["outputs"])
    if before.ndim == 1:
        whole[outputs] = parameter.values
        return whole, mask
    inputs = np.arange(before.shape[1]) if kept["inputs"] is None else np.array(kept["inputs"])
    if parameter.format == "channel":
        whole[np.ix_(outputs, inputs)] = 0
        inputs = np.array(kept["offered"])[parameter.tensors["channels"]]
        mask = np.zeros(before.shape, bool)
        mask[:, inputs] = True
        whole *= mask
    whole[np.ix_(outputs, inputs)] = parameter.values
    return whole, mask


def _write_inference(artifact: Artifact, parameters: Mapping[str, Parameter], folder: Path) -> None:
    model = onnx.load(artifact.path / MODEL)
    present = {tensor.name for tensor in model.graph.initializer}
    for name, parameter in parameters.items():
        if name in present:
            channel = parameter.format == "channel"
            set_tensor(model.graph, name, parameter.values if channel else decode(parameter))
            if channel:
                set_tensor(model.graph, f"{name}.channels", parameter.tensors["channels"].astype(np.int64))
    write_inference(model, folder)


def _origin(saved: State) -> dict[str, Any]:
    """Where the weights come from, as plain JSON."""
    return {"engine": str(saved.facts["engine"]), "generation": saved.generation}
